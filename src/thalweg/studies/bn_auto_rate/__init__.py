"""Auto rate-tuning by batch normalization: convergence at any learning rate (arXiv 1812.03981)."""
