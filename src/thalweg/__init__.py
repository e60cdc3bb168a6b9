"""Thalweg: a workbench for the science of training neural networks.

Importing this package costs little: torch, scipy and matplotlib load with the rooms that use them.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
