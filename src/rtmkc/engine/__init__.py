"""Numbers only: codes, tables, counts and weights; no maps, no pandas, no files."""
