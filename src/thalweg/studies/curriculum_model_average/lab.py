"""Runs of the study: each order a trunk at the peak rate, decays as branches of it, a cosine; averages at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from thalweg.data import ByteTokenizer, corpus, tokenize, validation_batches
from thalweg.data.noised import QUALITY, noised_windows
from thalweg.schedules import WSD, Cosine, Schedule
from thalweg.studies.base import Record
from thalweg.tasks import CurriculumQuadratic
from thalweg.train.averaging import average_weights, ema, sma, wma

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.data import Prepared
    from thalweg.studies.curriculum_model_average.study import Config
    from thalweg.train.on_plan import PlanTrainer

__all__ = ["AVERAGES", "text_records", "toy_records"]

AVERAGES = {
    "sma": sma,
    "ema": ema,
    "ema geometric": lambda k: ema(k, form="geometric"),
    "wma": wma,
}
"""Weights of the last k checkpoints, oldest first."""


def toy_records(steps: int = 2000, peak: float = 0.3, every: int = 25, k: int = 6) -> Iterator[Record]:
    """Exact risks of ``CurriculumQuadratic`` for each order, end rate and average; no seed enters."""
    toy = CurriculumQuadratic()
    schedules: dict[str, Schedule] = {
        f"wsd {end:.3g}": WSD(peak=peak, decay=0.2, floor=peak * end) for end in (1 / 300, 0.1, 1 / 3, 1.0)
    }
    schedules["cosine"] = Cosine(peak=peak, floor=peak / 300)
    at = [steps - every * back for back in range(k - 1, -1, -1)]
    for order in ("uniform", "ascend", "descend"):
        for schedule, made in schedules.items():
            rates = made.rates(steps)
            means = {"none": {steps: 1.0}} | {
                kind: dict(zip(at, weights(k), strict=True)) for kind, weights in AVERAGES.items()
            }
            risks = {kind: toy.risk(order, rates, mean) for kind, mean in means.items()}
            yield {"part": "toy", "order": order, "schedule": schedule, **risks}


def text_records(config: Config, *, seed: int, device: str) -> Iterator[Record]:
    """Yields (order, schedule, average, span, selection, test): losses in nats a byte on clean held-out text."""
    import torch

    from thalweg.data.plan import Order, Phase, Plan, Source
    from thalweg.train.on_plan import PlanTrainer

    text, made = corpus(config.corpus), ByteTokenizer()
    clean, other = (tokenize(text, made, split) for split in ("train", "validation"))
    windows = noised_windows(
        clean, count=config.steps * config.batch, length=config.length, vocab_size=256, seed=seed, worst=config.worst
    )
    held = validation_batches(other, context=config.length - 1, batch=256, count=config.held_out)
    held_out = [torch.from_numpy(rows) for rows in held]
    for order, schedules in config.arms.items():
        plan = Plan(
            sources={"text": Source(path="", score=QUALITY)},
            phases=(Phase(order=order),),
            seed=seed,
            context=config.length,
            packing="pad",
        )
        sources: dict[str, Prepared] = {"text": windows}
        trunk = PlanTrainer(config.model, Order(plan, sources), batch=config.batch, seed=seed, device=device)
        start = trunk.fork()
        turn = config.steps - round(config.decay * config.steps)
        trunk.advance(config.rates(1.0), turn)
        for end in schedules:
            run = start if end == "cosine" else trunk.fork()
            rates = config.rates(end)
            kept = run.advance(rates, config.steps, keep=config.checkpoints)
            yield from _ends(config, run, kept, held_out, {"part": "text", "order": order, "schedule": _name(end)})


def _name(end: float | str) -> str:
    return end if isinstance(end, str) else f"wsd {end:.3g}"


def _ends(
    config: Config, run: PlanTrainer, kept: dict[int, dict[str, Tensor]], held_out: list[Tensor], about: Record
) -> Iterator[Record]:
    """The last weights, and averages at the span that the selection windows prefer for equal weights."""

    def losses(state: dict[str, Tensor] | None) -> dict[str, float]:
        each = run.losses(held_out, state)
        return {"selection": float(each[0::2].mean()), "test": float(each[1::2].mean())}

    yield {**about, "average": "none", "span": 0.0, **losses(None)}
    found: dict[float, dict[str, float]] = {}
    for span in config.spans:
        found[span] = losses(average_weights([kept[step] for step in config.at(span)], sma(config.k)))
        yield {**about, "average": "sma at span", "span": span, **found[span]}
    best = min(found, key=lambda span: found[span]["selection"])
    yield {**about, "average": "sma", "span": best, **found[best]}
    states = [kept[step] for step in config.at(best)]
    for kind in ("ema", "ema geometric", "wma"):
        yield {**about, "average": kind, "span": best, **losses(average_weights(states, AVERAGES[kind](config.k)))}
