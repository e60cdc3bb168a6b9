"""The quadratic synchronisation rule against other rules for the period of local updates (arXiv 2310.14423)."""
