"""Thin adapters to other libraries and formats; each imports what it adapts only when called."""
