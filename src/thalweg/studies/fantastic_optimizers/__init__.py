"""How much of a speed-up is an untuned baseline, live in miniature and in the published tables (arXiv 2509.02046)."""
