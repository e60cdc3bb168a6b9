"""The study's language models: biographies told anew at every showing, mixed into real text by tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from thalweg.data import Batches, BPETokenizer, Corpus, corpus, tokenize, train_bpe, validation_batches
from thalweg.data.mixing import MixedBatches
from thalweg.studies.base import Record
from thalweg.tasks import Biographies, Probe

if TYPE_CHECKING:
    from thalweg.studies.data_mixing_phase_transitions.study import Text

__all__ = ["Arm", "Lab", "text_records"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One run.

    Args:
        name: "sweep", "keep", "compact" or "longer".
        ratio: share of the tokens.
        keep: share of the people told of.
        compact: tokens of tuples over tokens of prose.
        times: steps, in those of the configuration.
    """

    name: str
    ratio: float
    keep: float = 1.0
    compact: float = 0.0
    times: int = 1


def text_records(config: Text, *, seed: int, device: str) -> Iterator[Record]:
    """Yields one record a run: recall over all people, by attribute, and the loss on held-out text."""
    lab = Lab(config, seed, device)
    arms = [Arm("sweep", ratio) for ratio in config.ratios]
    arms += [Arm("keep", config.below, keep=share) for share in config.keeps]
    arms += [Arm("compact", config.below, compact=share) for share in config.compacts]
    arms += [Arm("longer", config.below, times=times) for times in config.longer]
    for arm in arms:
        yield lab.run(arm)


class Lab:
    """Corpus, tokenizer, people and questions of one seed.

    Args:
        config: sizes and rates.
        seed: of people, order of the text, initial weights.
        device: where to train.
    """

    def __init__(self, config: Text, seed: int, device: str) -> None:
        self.config, self.seed, self.device = config, seed, device
        self.people = Biographies(config.people, seed)
        whole, rng = corpus(config.corpus), np.random.default_rng([seed, 2])
        self.text = Corpus(whole.name, tuple(_first(whole, config.characters)), whole.notes)
        told = [self.people.render(k, rng) for _ in range(config.tellings) for k in range(config.people)]
        self.tokenizer: BPETokenizer = train_bpe(
            [*(document.text for document in self.text.split("train")), *told], vocab_size=config.vocabulary
        )
        asked = self.people.probes(range(config.people))
        self.probes: list[Probe] = [asked[k] for k in rng.permutation(len(asked))[: config.questions]]

    @cached_property
    def tokens(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids of the text to train on, and of the text held out."""
        return tokenize(self.text, self.tokenizer, "train"), tokenize(self.text, self.tokenizer, "validation")

    @cached_property
    def lengths(self) -> tuple[float, float]:
        """Mean tokens of a biography and of a tuple."""
        rng = np.random.default_rng([self.seed, 3])
        some = range(min(self.config.people, 200))
        prose = [len(self.tokenizer.encode(self.people.render(k, rng))) for k in some]
        return float(np.mean(prose)), float(
            np.mean([len(self.tokenizer.encode(self.people.compact(k, rng))) for k in some])
        )

    def batches(self, arm: Arm) -> MixedBatches:
        """Rows of the run; the first round(keep · people) people are told of."""
        prose, short = self.lengths
        tuples = arm.compact * prose / (short + arm.compact * prose)  # of showings, not of tokens

        def write(person: int, rng: np.random.Generator) -> np.ndarray:
            tell = self.people.compact if rng.random() < tuples else self.people.render
            return np.append(self.tokenizer.encode(tell(person, rng)), self.tokenizer.end)

        config = self.config
        stored = Batches(self.tokens[0], context=config.context, batch=config.batch, seed=self.seed)
        return MixedBatches(stored, write, round(arm.keep * config.people), arm.ratio)

    def run(self, arm: Arm) -> Record:
        """Trains from scratch and asks."""
        import torch

        from thalweg.nn import LanguageModel, ModelConfig
        from thalweg.optim import for_model
        from thalweg.probes.recall import evaluate_recall
        from thalweg.schedules import parse
        from thalweg.train.setup import pick_device, window_losses

        config, where = self.config, pick_device(self.device)
        shape = ModelConfig(
            vocab_size=self.tokenizer.vocab_size,
            dim=config.dim,
            layers=config.layers,
            heads=config.heads,
            context=config.context,
            tie_embeddings=True,
        )
        model = LanguageModel(shape, generator=torch.Generator().manual_seed(self.seed)).to(where)
        optimizer = for_model(model, "adamw", lr=1.0, betas=(0.9, 0.95), weight_decay=config.weight_decay)
        full = [group["lr"] for group in optimizer.param_groups]
        steps, batches = config.steps * arm.times, self.batches(arm)
        for step, rate in enumerate(parse(config.schedule).rates(steps)):
            for group, scale in zip(optimizer.param_groups, full, strict=True):
                group["lr"] = scale * float(rate)
            rows = torch.from_numpy(batches.at(step)).to(where)
            loss = torch.nn.functional.cross_entropy(model(rows[:, :-1]).logits.flatten(0, 1), rows[:, 1:].flatten())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        held = validation_batches(self.tokens[1], context=config.context, batch=64, count=config.windows)
        found = evaluate_recall(model, self.tokenizer, self.probes)
        return {
            "part": "text",
            "arm": arm.name,
            "ratio": arm.ratio,
            "keep": arm.keep,
            "compact": arm.compact,
            "times": arm.times,
            "parameters": sum(p.numel() for p in model.parameters()),
            "tokens": steps * config.batch * (config.context + 1),
            "biography": self.lengths[0],
            "tuple": self.lengths[1],
            "accuracy": found.accuracy,
            "first": found.first_token,
            "loss": found.loss,
            "attributes": found.attributes,
            "web": float(window_losses(model, [torch.from_numpy(rows) for rows in held]).mean()),
        }


def _first(whole: Corpus, characters: int) -> Iterator:
    """The first documents of each split, until they hold that many characters (a tenth of it, held out)."""
    for split, most in (("train", characters), ("validation", characters // 10)):
        have = 0
        for document in whole.split(split):
            if have < most:
                yield document
            have += len(document.text)
