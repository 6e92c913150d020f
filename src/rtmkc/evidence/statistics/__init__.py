"""Arrays in, numbers out: metrics, resampling, diagnostics."""
