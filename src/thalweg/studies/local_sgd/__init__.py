"""Local SGD's sharpness by the steps between averages, near a manifold and in a network (arXiv 2303.01215)."""
