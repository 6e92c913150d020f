"""Does it hold? Statistics, baselines, validation."""
