"""Sensitivity of annealed checkpoints to noise and to fine-tuning, by pretraining budget (arXiv 2503.19206)."""
