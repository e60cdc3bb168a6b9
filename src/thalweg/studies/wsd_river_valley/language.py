"""What the study measures on its language models: checkpoints, hill and river, segments, tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thalweg.landscape import averaging_gap, change_by_entropy, hill_river, interpolate, token_losses
from thalweg.studies.base import Record
from thalweg.studies.wsd_river_valley.lab import Lab, torch_threads
from thalweg.train.averaging import average_weights, sma

if TYPE_CHECKING:
    from thalweg.studies.wsd_river_valley.study import Config

__all__ = ["language_records"]

ROUNDING = 1e-6  # nats per token: what float32 losses of the same windows may be off


def language_records(config: Config, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
    """Trains everything of one seed, then measures."""
    lab = Lab(config, seed, device, folder)
    with torch_threads(config.threads):
        lab.train_all()
        found = [record for measure in (_curves, _finals, _probes, _segments, _tokens) for record in measure(lab)]
    for record in found:
        yield {"part": "language", **record}


def _curves(lab: Lab) -> Iterator[Record]:
    """Validation curves, x in updates behind the weights."""
    for name in ("wsd-s", "cyclic", "stable"):
        steps, losses = lab.runs[name].curve("val_loss")
        yield {"kind": "curve", "method": name, "steps": (steps + 1).tolist(), "losses": losses.tolist()}


def _finals(lab: Lab) -> Iterator[Record]:
    """The checkpoint of each method at each budget, with the updates it was charged and those behind its weights."""
    for place, budget in enumerate(lab.config.budgets):
        start, end = lab.branches.starts[place], lab.branches.ends[place]
        found = {"wsd-s": ("wsd-s", budget), "cyclic": ("cyclic", budget), "wsd": (f"decay-{start}", end)}
        spent = {"wsd-s": budget, "cyclic": budget, "wsd": lab.branches.spent[place]}
        for method, (name, step) in found.items():
            losses = lab.losses(lab.weights(name, step))
            yield {
                "kind": "final",
                "method": method,
                "budget": budget,
                "spent": spent[method],
                "updates": step,
                "loss": float(losses.mean()),
                "error": float(losses.std(ddof=1) / np.sqrt(len(losses))),
            }


def _probes(lab: Lab) -> Iterator[Record]:
    """Hill and river along the stable branch, and how near the mean of the last iterates comes to the decay."""
    stable = np.stack([lab.losses(lab.stable(probe.step)) for probe in lab.probes])
    decayed = np.stack([lab.losses(lab.decayed(probe)) for probe in lab.probes])
    parts = hill_river([probe.step for probe in lab.probes], stable, decayed)
    for place, probe in enumerate(lab.probes):
        mean = average_weights([lab.stable(step) for step in probe.iterates], sma(len(probe.iterates)))
        averaged = lab.losses(mean)
        gap = averaging_gap(averaged, decayed[place])
        yield {
            "kind": "probe",
            "step": probe.step,
            "decay": probe.decay,
            **{
                name: float(getattr(parts, name)[place])
                for name in ("loss", "hill", "river", "loss_error", "hill_error", "river_error")
            },
            "averaged": float(averaged.mean()),
            "averaging_gap": gap.effect,
            "averaging_gap_error": gap.error,
        }


def _segments(lab: Lab) -> Iterator[Record]:
    """Losses between the last two probed points, stable and decayed."""
    early, late = lab.probes[-2:]
    pairs = {
        "stable-stable": (lab.stable(early.step), lab.stable(late.step)),
        "stable-decayed": (lab.stable(late.step), lab.decayed(late)),
        "decayed-decayed": (lab.decayed(early), lab.decayed(late)),
    }
    for ends, (a, b) in pairs.items():
        path = interpolate(a, b, lab.losses, lab.config.points)
        yield {
            "kind": "segment",
            "ends": ends,
            "fractions": path.fractions.tolist(),
            "losses": path.losses.tolist(),
            "dip": path.dip,
            "dip_error": path.dip_error,
            "convex": path.is_convex(ROUNDING),
            "falling": path.is_falling(ROUNDING),
        }


def _tokens(lab: Lab) -> Iterator[Record]:
    """Change of each token's loss in WSD's last decay, by the entropy that the final WSD-S model gives it."""
    probe = lab.probes[-1]
    found = []
    for weights in (lab.stable(probe.step), lab.decayed(probe), lab.weights("wsd-s", lab.config.budgets[-1])):
        lab.model.load_state_dict(weights)
        found.append(token_losses(lab.model, lab.windows))
    (before, _), (after, _), (_, entropies) = found
    for place, part in enumerate(change_by_entropy(before, after, entropies, lab.config.bins)):
        yield {"kind": "tokens", "bin": place, **asdict(part)}
