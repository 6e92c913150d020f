"""Which paths there are, which are best, alone and together, and how sure that is."""
