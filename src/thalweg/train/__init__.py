"""Training: the loop, its hooks, checkpoints and weight averages."""
