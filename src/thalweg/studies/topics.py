"""What each study is about: the one table of topics, by which the atlas and ``thalweg study list`` select."""

from __future__ import annotations

__all__ = ["OTHER", "TOPICS", "topic_of"]

OTHER = "other"
"""The topic of a study that the table does not name."""

TOPICS: dict[str, tuple[str, ...]] = {
    "schedules and laws": ("multi-power-law", "ncpl", "river-directions", "wsd-river-valley"),
    "optimizers": ("fantastic-optimizers", "momentum", "optimizers-at-small-scale", "rnnprop"),
    "batch and parallelism": ("local-sgd", "moe-global-balance", "qsr", "sde-scaling"),
    "data": (
        "catastrophic-overtraining",
        "curriculum-model-average",
        "data-mixing-phase-transitions",
        "data-reuse-law",
        "kaiyuan-recipe",
        "proxy-small-lr",
        "shift-is-good",
    ),
    "architectures": ("gated-attention", "outlier-rescaling", "path-attention", "raptr", "rnns-not-transformers"),
    "sharpness": ("adam-sharpness", "normalization-sharpness", "sam", "sharpness-generalization"),
    "normalization": ("bn-auto-rate", "intrinsic-lr"),
    "skills and circuits": ("compositional-tasks", "power-law-composition", "transformer-interpretability-dyck"),
}
"""Topic -> its studies, each in one topic, in the order in which pages show them."""


def topic_of(slug: str) -> str:
    """The topic of a study; ``OTHER`` where the table does not name it."""
    return next((topic for topic, slugs in TOPICS.items() if slug in slugs), OTHER)
