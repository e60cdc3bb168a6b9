"""Sharp rises of knowledge in the mixing ratio, in a linear memory and a small transformer (arXiv 2505.18091)."""
