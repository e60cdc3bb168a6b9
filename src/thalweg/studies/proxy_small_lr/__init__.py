"""Ranking data recipes by proxies at small learning rates (arXiv 2512.24503)."""
