"""Files become layers: geometry, dates, provenance, and a ledger of every row."""
