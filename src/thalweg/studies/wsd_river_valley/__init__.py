"""WSD, WSD-S and cyclic cosine at several budgets in one run, and the river valley behind them (arXiv 2410.05192)."""
