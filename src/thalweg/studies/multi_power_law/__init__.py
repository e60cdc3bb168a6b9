"""The multi-power law on published curves and on own pilot runs."""
