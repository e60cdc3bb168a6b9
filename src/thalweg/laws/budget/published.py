"""Published laws that a plan may rest on where the user has none, each with its origin, range and uncertainty.

Source: Hoffmann et al., arXiv 2203.15556, appendix D.3 (constants before rounding: its TeX source, read by arXiv
2404.10102); Besiroglu et al., arXiv 2404.10102 (refit); Li et al., arXiv 2503.04715 (Step Law; 1,000 bootstrap fits in
step-law/steplaw at 32a8f4cc); Muennighoff et al., arXiv 2305.16264 (repetition: `laws.reuse`).
Differs: 1. the refit's covariance is ours: a bootstrap of the same 240 runs with the same objective, whose standard
errors of A, B, E, alpha, beta (116, 1426, .026, .015, .021) agree with the published ones (125, 1293, .026, .015,
.021); 2. what straying from the best rate and batch costs was read off Step Law's published runs. Both by
``python benchmarks/planner.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from thalweg.laws.budget.rates import Power, RateLaw
from thalweg.laws.budget.sizes import SizeLaw
from thalweg.laws.chinchilla_size import ChinchillaSize

__all__ = ["RATE_LAWS", "REUSE_SOURCE", "SIZE_LAWS", "STRAYING"]

TEXT = (
    "Its loss is that of MassiveText in its authors' tokens: on other text or another tokenizer compare losses of one "
    "plan with another's, not with your own runs."
)
REFIT_COVARIANCE = np.array(
    [
        [0.06026508618, -0.021246012, 0.002043776319, 0.0035943653, -0.001071599456],
        [-0.021246012, 0.180848267, 0.004006955829, -0.001336144566, 0.008847095277],
        [0.002043776319, 0.004006955829, 0.0002062182064, 0.0001205354331, 0.000195380195],
        [0.0035943653, -0.001336144566, 0.0001205354331, 0.0002146711031, -6.742620409e-05],
        [-0.001071599456, 0.008847095277, 0.000195380195, -6.742620409e-05, 0.0004330765939],
    ]
)
REFIT_RANGE = {"sizes": (5.73e7, 1.62e10), "tokens": (8.19e8, 3.18e11)}  # the 240 runs of the refit

SIZE_LAWS: Mapping[str, SizeLaw] = MappingProxyType(
    {
        "besiroglu": SizeLaw(
            "Chinchilla, refit",
            ChinchillaSize(E=1.81686, A=482.00572, alpha=0.34781303, B=2085.4342, beta=0.36585412),
            "Besiroglu et al., arXiv 2404.10102",
            "Refit of Hoffmann et al.'s third approach to 240 of their runs; at their budget it agrees with the other "
            f"two approaches and with the 70B model they trained. {TEXT}",
            counts="all parameters, embeddings too",
            **REFIT_RANGE,
            covariance=REFIT_COVARIANCE,
            spread=0.00939 / 1.645,  # 90 % of the runs lie within .00939 of the log loss
        ),
        "hoffmann": SizeLaw(
            "Chinchilla, approach 3",
            ChinchillaSize(
                E=float(np.exp(0.5267228)),
                A=float(np.exp(6.0073404)),
                alpha=0.33917084,
                B=float(np.exp(6.0179186)),
                beta=0.2849083,
            ),
            "Hoffmann et al., arXiv 2203.15556",
            "The original third approach. It asks for smaller models than the paper's other two (40B at Gopher's "
            f"budget), and its published intervals are too narrow to be used (arXiv 2404.10102). {TEXT}",
            counts="all parameters, embeddings too",
            sizes=(7e7, 1.6e10),
            tokens=(5e9, 5e11),
        ),
    }
)
"""Laws of size and data by name."""

RATE_LAWS: Mapping[str, RateLaw] = MappingProxyType(
    {
        "step-law": RateLaw(
            "Step Law",
            Power(
                (0.5863077907399264, -0.7129222911869909, 0.30749095041206964),
                (
                    (0.3890621115, -0.01355893897, -0.005132493532),
                    (-0.01355893897, 0.0008914857372, -0.0001743317885),
                    (-0.005132493532, -0.0001743317885, 0.0003663118429),
                ),
            ),
            Power(
                (-0.543542173610334, 0.0, 0.5709443646895052),
                ((0.1911796359, 0.0, -0.008151572248), (0.0, 0.0, 0.0), (-0.008151572248, 0.0, 0.0003485179395)),
            ),
            "Li et al., arXiv 2503.04715",
            "Peak rate 1.79 N^-.713 D^.307 and batch .58 D^.571 tokens, N without embeddings, for AdamW with a cosine "
            "that ends at 1e-5 after 2,000 steps of warm-up. Intervals from the authors' 1,000 bootstrap fits; the "
            "best of 16 published sweeps lies within a factor of 1.7 (rate) and 1.9 (batch) of it.",
            sizes=(2.147e8, 1.074e9),
            tokens=(4e9, 1e11),
            floor=1e-5,
            warmup=2000,
        )
    }
)
"""Laws of learning rate and batch by name; the range is that of the published dense sweeps."""

STRAYING: Mapping[str, tuple[tuple[float, float, float, float], ...]] = MappingProxyType(
    {
        "learning rate": (
            (0.25, 0.0209, 0.0121, 0.0390),
            (0.5, 0.0074, 0.0018, 0.0189),
            (2.0, 0.0191, 0.0032, 0.0774),
            (4.0, 0.1098, 0.0418, 4.1198),
        ),
        "batch": (
            (0.25, 0.0423, 0.0213, 0.0678),
            (0.5, 0.0119, 0.0036, 0.0232),
            (2.0, 0.0129, 0.0018, 0.0192),
            (4.0, 0.0351, 0.0182, 0.0572),
        ),
        "batch, rate tuned again": (
            (0.25, 0.0212, 0.0084, 0.0356),
            (0.5, 0.0059, 0.0010, 0.0134),
            (2.0, 0.0097, 0.0018, 0.0148),
            (4.0, 0.0334, 0.0182, 0.0570),
        ),
    }
)
"""Factor from the best run of a sweep, then median, least and most loss above it over 14 to 16 published sweeps."""
STRAYING_SOURCE = "published runs of Step Law, 215M to 1.07B parameters"

REUSE_SOURCE = "Muennighoff et al., arXiv 2305.16264"
REUSE_ABOUT = (
    "K epochs are worth 1 + R (1 - exp(-(K - 1) / R)) fresh ones, R = 15.39 whatever the amount of data. No "
    "interval is used, and arXiv 2511.13421 finds that larger data can be repeated more."
)
