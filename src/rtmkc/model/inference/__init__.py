"""Other kinds of intervals for fitted weights, and how often a factor is chosen again."""
