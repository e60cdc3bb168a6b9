"""A made sweep: two optimizers, three sizes, a bowl in log rate whose bottom moves with size, known exactly."""

import numpy as np

from thalweg.laws.configuration import ConfigTable

SIZES = (5e7, 1e8, 2e8)


def truth(params, tokens, rate, muon, frac=1.0):
    """The loss without noise."""
    base = 1.8 + 300 * params**-0.34 + 400 * (tokens * frac) ** -0.28
    best = np.log(4e-3) - 0.3 * np.log(params / 1e8) + 0.7 * muon
    return base + 0.03 * (np.log(rate) - best) ** 2 - 0.03 * muon


def sweep(count=160, seed=0, sizes=SIZES, noise=2e-3, curves=False, split="train"):
    """Random runs of it."""
    rng = np.random.default_rng(seed)
    params = rng.choice(sizes, count)
    tokens = params * rng.choice([20.0, 40.0, 80.0], count)
    rate = np.exp(rng.uniform(np.log(5e-4), np.log(3e-2), count))
    muon = rng.random(count) < 0.5
    frac = rng.choice([0.25, 0.5, 1.0], count) if curves else np.ones(count)
    losses = truth(params, tokens, rate, muon, frac) + noise * rng.standard_normal(count)
    numbers = {"params": params, "tokens": tokens, "learning_rate": rate, "batch_size": np.full(count, 128.0)}
    numbers |= {"frac": frac} if curves else {}
    words = ["muon" if m else "adamw" for m in muon]
    return ConfigTable(numbers, {"optimizer": words}, losses, [split] * count)
