"""Studies: one claim each, tested with the library's own parts. ``STUDIES`` maps the slug to its module."""

from __future__ import annotations

__all__ = ["STUDIES"]

STUDIES: dict[str, str] = {
    "adam-sharpness": "thalweg.studies.adam_sharpness.study",
    "bn-auto-rate": "thalweg.studies.bn_auto_rate.study",
    "catastrophic-overtraining": "thalweg.studies.catastrophic_overtraining.study",
    "compositional-tasks": "thalweg.studies.compositional_tasks.study",
    "curriculum-model-average": "thalweg.studies.curriculum_model_average.study",
    "data-mixing-phase-transitions": "thalweg.studies.data_mixing_phase_transitions.study",
    "moe-global-balance": "thalweg.studies.moe_global_balance.study",
    "data-reuse-law": "thalweg.studies.data_reuse_law.study",
    "fantastic-optimizers": "thalweg.studies.fantastic_optimizers.study",
    "gated-attention": "thalweg.studies.gated_attention.study",
    "intrinsic-lr": "thalweg.studies.intrinsic_lr.study",
    "kaiyuan-recipe": "thalweg.studies.kaiyuan_recipe.study",
    "local-sgd": "thalweg.studies.local_sgd.study",
    "momentum": "thalweg.studies.momentum.study",
    "multi-power-law": "thalweg.studies.multi_power_law.study",
    "ncpl": "thalweg.studies.ncpl.study",
    "normalization-sharpness": "thalweg.studies.normalization_sharpness.study",
    "optimizers-at-small-scale": "thalweg.studies.optimizers_at_small_scale.study",
    "outlier-rescaling": "thalweg.studies.outlier_rescaling.study",
    "path-attention": "thalweg.studies.path_attention.study",
    "power-law-composition": "thalweg.studies.power_law_composition.study",
    "proxy-small-lr": "thalweg.studies.proxy_small_lr.study",
    "qsr": "thalweg.studies.qsr.study",
    "raptr": "thalweg.studies.raptr.study",
    "river-directions": "thalweg.studies.river_directions.study",
    "rnnprop": "thalweg.studies.rnnprop.study",
    "rnns-not-transformers": "thalweg.studies.rnns_not_transformers.study",
    "sam": "thalweg.studies.sam.study",
    "sde-scaling": "thalweg.studies.sde_scaling.study",
    "sharpness-generalization": "thalweg.studies.sharpness_generalization.study",
    "shift-is-good": "thalweg.studies.shift_is_good.study",
    "transformer-interpretability-dyck": "thalweg.studies.transformer_interpretability_dyck.study",
    "wsd-river-valley": "thalweg.studies.wsd_river_valley.study",
}
