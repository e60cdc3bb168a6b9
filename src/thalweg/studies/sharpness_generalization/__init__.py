"""Study: three architectures in which flatness does, does not, and need not mean that a network generalises."""
