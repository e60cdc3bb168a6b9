"""The runs of the study, every one of them on a data plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from thalweg.data import ByteTokenizer, Prepared, corpus, quantile_benchmark, tokenize, validation_batches
from thalweg.data.noised import QUALITY, noised_windows
from thalweg.data.plan import Order, Phase, Plan, Source, Take
from thalweg.data.quantiles import documents
from thalweg.schedules import WSD
from thalweg.studies.base import Record
from thalweg.train.averaging import average_weights, sma
from thalweg.train.on_plan import PlanTrainer

if TYPE_CHECKING:
    from thalweg.studies.kaiyuan_recipe.study import Config

__all__ = ["KEPT", "Lab", "phase_windows"]

KEPT = ((1.0, 0.4, 0.1, 0.06, 0.03), (0.0, 1.0, 0.5, 0.3, 0.1))
"""Best shares that the five phases keep of DCLM and of FineWeb-Edu (configs/phases of thu-pacman/Kaiyuan-Spark)."""
SORTED_FROM = 2
"""The first phase that is a curriculum."""


def phase_windows(total: int) -> tuple[int, int]:
    """Windows of the two sources (equal), so that the five phases deliver about ``total`` windows, not fewer."""
    each = int(np.ceil(total / sum(map(sum, KEPT)))) + 2
    return each, each


@dataclass(frozen=True)
class Lab:
    """Data and held-out text of one seed.

    Attributes:
        config: sizes.
        seed: of everything.
        device: where models train.
        clean: tokens of the two corpora's training documents.
        held_out: of each corpus, batches of windows.
    """

    config: Config
    seed: int
    device: str
    clean: tuple[np.ndarray, ...]
    held_out: tuple[list[torch.Tensor], ...]

    @classmethod
    def make(cls, config: Config, *, seed: int, device: str) -> Lab:
        """Reads the corpora."""
        made, clean, held_out = ByteTokenizer(), [], []
        for name in config.corpora:
            text = corpus(name)
            clean.append(tokenize(text, made, "train"))
            rows = validation_batches(
                tokenize(text, made, "validation"), context=config.length - 1, batch=256, count=config.held_out
            )
            held_out.append([torch.from_numpy(each) for each in rows])
        return cls(config, seed, device, tuple(clean), tuple(held_out))

    def windows(self, which: int, count: int, first: int = 0) -> Prepared:
        """Noised windows of a corpus."""
        config = self.config
        return noised_windows(
            self.clean[which],
            count=count,
            length=config.length,
            vocab_size=256,
            seed=self.seed,
            worst=config.worst,
            first=first,
        )

    def trainer(self, phases: tuple[Phase, ...], sources: dict[str, Prepared]) -> PlanTrainer:
        """A fresh model before a plan."""
        config = self.config
        plan = Plan(
            sources={name: Source(path="", score=QUALITY, domain=name) for name in sources},
            phases=phases,
            seed=self.seed,
            context=config.length,
            packing="pad",
        )
        order = Order(plan, sources)
        return PlanTrainer(config.model, order, batch=config.batch, seed=self.seed, device=self.device)

    def wsd(self, end: float, steps: int) -> np.ndarray:
        """Rates that end at a share of the peak."""
        config = self.config
        warmup = min(config.warmup, steps // 4)
        return WSD(peak=config.peak, warmup=warmup, decay=config.decay, floor=config.peak * end).rates(steps)

    def losses(self, run: PlanTrainer, which: tuple[int, ...], state: dict[str, torch.Tensor] | None = None) -> Record:
        """Selection and test loss, each the mean over corpora."""
        each = [run.losses(self.held_out[place], state) for place in which]
        return {
            "selection": float(np.mean([found[0::2].mean() for found in each])),
            "test": float(np.mean([found[1::2].mean() for found in each])),
        }

    def repetition(self) -> Iterator[Record]:
        """The best 1/k of the windows, gone through k times."""
        config = self.config
        total = config.steps * config.batch
        source = self.windows(0, total)
        for repeat in config.repeats:
            phase = Phase(take={"text": Take(keep_top=1 / repeat)}, weights={"text": 1.0}, tokens=total * config.length)
            run = self.trainer((phase,), {"text": source})
            run.advance(self.wsd(min(config.ends), config.steps), config.steps)
            yield {"part": "repetition", "repeat": repeat, **self.losses(run, (0,))}

    def quantiles(self) -> Iterator[Record]:
        """Reference runs on slices by a good score and by a random one."""
        config = self.config
        steps = config.reference
        source = self.windows(0, round(steps * config.batch / config.width))
        rng = np.random.default_rng([self.seed, 7])
        scores = {
            "quality": source.columns[QUALITY] + config.score_noise * rng.standard_normal(len(source)),
            "random": rng.random(len(source)),
        }
        runs: dict[tuple[str, float], Record] = {}

        def train(name: str, rows: np.ndarray, seed: int) -> PlanTrainer:
            phase = Phase(weights={"text": 1.0}, tokens=steps * config.batch * config.length)
            run = self.trainer((phase,), {"text": documents(source, rows)})
            run.advance(self.wsd(min(config.ends), steps), steps)
            return run

        columns = {name: (score, source.lengths) for name, score in scores.items()}
        evaluate = partial(self.losses, which=(0,))
        table = quantile_benchmark(
            columns, train, evaluate, starts=config.starts, width=config.width, seeds=(self.seed,)
        )
        for (which, place, task), value in np.ndenumerate(table.means):
            cell = runs.setdefault((table.corpora[which], table.starts[place]), {})
            cell[table.tasks[task]] = float(value)
        for (name, start), losses in runs.items():
            yield {"part": "quantile", "score": name, "start": start, **losses}

    def phases(self) -> Iterator[Record]:
        """Five phases, with and without the curriculum, and uniform order over fresh windows of the same shares."""
        config = self.config
        total = config.steps * config.batch
        sizes = phase_windows(total)
        shares = [sum(kept) * size / total for kept, size in zip(KEPT, sizes, strict=True)]
        fresh = [
            self.windows(place, round(share * total) + 1, first=place * 10**9) for place, share in enumerate(shares)
        ]
        names = config.corpora
        yield from self._uniform(dict(zip(names, fresh, strict=True)))
        few = {name: documents(source, np.arange(size)) for name, source, size in zip(names, fresh, sizes, strict=True)}
        plan = tuple(
            Phase(
                take={
                    name: Take(keep_top=kept[number]) for name, kept in zip(names, KEPT, strict=True) if kept[number]
                },
                order="interleave" if number >= SORTED_FROM else "uniform",
            )
            for number in range(len(KEPT[0]))
        )
        shuffled = tuple(replace(phase, order="uniform") for phase in plan)
        for arm, phases in (("five phases", plan), ("five phases, shuffled", shuffled)):
            run = self.trainer(phases, few)
            every = max(1, round(config.span * config.steps / (config.k - 1)))
            at = [config.steps - every * back for back in range(config.k - 1, -1, -1)]
            kept = run.advance(self.phase_rates(run), config.steps, keep=at)
            mean = average_weights([kept[step] for step in at], sma(config.k))
            for average, state in (("none", None), ("sma", mean)):
                losses = self.losses(run, (0, 1), state)
                yield {"part": "phases", "arm": arm, "schedule": "phases", "average": average, **losses}

    def _uniform(self, sources: dict[str, Prepared]) -> Iterator[Record]:
        """One trunk at the peak rate; decays are its branches."""
        config = self.config
        trunk = self.trainer((Phase(),), sources)
        trunk.advance(self.wsd(1.0, config.steps), config.steps - round(config.decay * config.steps))
        for end in config.ends:
            run = trunk.fork()
            run.advance(self.wsd(end, config.steps), config.steps)
            about = {"part": "phases", "arm": "uniform", "schedule": f"wsd {end:.3g}", "average": "none"}
            yield {**about, **self.losses(run, (0, 1))}

    def phase_rates(self, run: PlanTrainer) -> np.ndarray:
        """The first phase at one rate, three at another, a 1-sqrt decay in the last; a warmup before all."""
        config = self.config
        first, middle, end = config.phase_rates
        order = run.batches.order
        turn, fall = (int(order.firsts[number]) // config.batch for number in (1, 4))
        rates = np.full(config.steps, middle)
        rates[:turn] = first
        rates[: config.warmup] *= (np.arange(config.warmup) + 1) / config.warmup
        past = np.arange(config.steps - fall) / max(1, config.steps - fall)
        rates[fall:] = middle + (end - middle) * np.sqrt(past)
        return rates
