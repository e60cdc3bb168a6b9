"""Study: the configuration law against the Chinchilla law on published sweeps."""
