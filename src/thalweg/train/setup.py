"""From a recipe to the live parts of a run: data, model, optimizer, scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim import Optimizer

from thalweg.data import Batches, Corpus, Tokenizer, cached_shard, corpus, tokenizer, train_bpe, validation_batches
from thalweg.data.plan import Order
from thalweg.errors import InputError
from thalweg.nn import LanguageModel
from thalweg.optim import for_model
from thalweg.schedules import parse
from thalweg.schedules.adapter import ScheduleLR
from thalweg.train.averaging import OnlineEMA
from thalweg.train.balance import BalanceHook
from thalweg.train.depth_hook import DepthHook
from thalweg.train.hooks import AverageHook, Hook, State
from thalweg.train.local_hook import LocalHook
from thalweg.train.local_updates import LocalUpdates
from thalweg.train.planned import PlanBatches, PlanHook, open_plan, plan_tokenizer, validation_tokens
from thalweg.train.recipe import DataRecipe, Recipe
from thalweg.train.sam import with_sam
from thalweg.train.workers import WorkerMean
from thalweg.train.world import World

__all__ = ["LOGIT_BYTES", "Data", "build", "pick_device", "precision", "prepare", "window_losses"]

LOGIT_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Data:
    """The tokens of a recipe.

    Args:
        train: (n,) memory-mapped token ids.
        validation: (m,) token ids of other documents.
        tokenizer: made them.
        corpus: fingerprint of the text they were made from (of the validation text where there is a plan).
        about: one line on where they come from.
        order: of the training windows, where the recipe names a data plan; ``train`` is empty then.
        changed_plan: go on from a checkpoint of another plan.
    """

    train: np.ndarray
    validation: np.ndarray
    tokenizer: Tokenizer
    corpus: str
    about: str
    order: Order | None = None
    changed_plan: bool = False

    @property
    def fingerprints(self) -> dict[str, str]:
        """What decides the tokens: SHA-256 of corpus and tokenizer. A checkpoint keeps them."""
        return {"corpus": self.corpus, "tokenizer": self.tokenizer.fingerprint}

    def check(self, recipe: Recipe) -> None:
        """Refuses a recipe that these tokens do not fit, before anything is made for it.

        Raises:
            InputError: the model does not cover the tokenizer's vocabulary, or a split is shorter than the context.
        """
        if recipe.model.vocab_size < self.tokenizer.vocab_size:
            raise InputError(
                f"model.vocab_size = {recipe.model.vocab_size} does not cover the tokenizer's "
                f"{self.tokenizer.vocab_size}: make it at least that"
            )
        self.batches(recipe)
        self.windows(recipe)
        if self.order is not None and recipe.steps * recipe.batch > len(self.order):
            raise InputError(
                f"steps = {recipe.steps} of batch = {recipe.batch} need {recipe.steps * recipe.batch:,} windows but "
                f"plan {recipe.data.plan} has {len(self.order):,}: lengthen its phases or train for fewer steps"
            )

    def batches(self, recipe: Recipe) -> Batches | PlanBatches:
        """The training batches, a pure function of (seed, step), or of (plan, step)."""
        if self.order is not None:
            return PlanBatches(self.order, recipe.batch)
        return Batches(self.train, context=recipe.data.context, batch=recipe.batch, seed=recipe.seed)

    def windows(self, recipe: Recipe) -> tuple[np.ndarray, ...]:
        """The validation windows in batches, int64 (<= batch, context + 1), the same for every seed."""
        plan = recipe.evaluation
        return validation_batches(self.validation, context=recipe.data.context, batch=plan.batch, count=plan.windows)


def prepare(recipe: DataRecipe, folder: str | Path) -> Data:
    """Reads and tokenizes the corpus, or maps the shards that an earlier call left under ``folder``.

    Args:
        recipe: corpus and tokenizer.
        folder: where shards are kept.

    Raises:
        InputError: no such corpus, tokenizer or plan, or a split is empty.
    """
    if recipe.plan:
        return _planned(recipe)
    text = corpus(recipe.corpus)
    made = _tokenizer(recipe, text, Path(folder))
    shards = {split: cached_shard(text, made, split, folder) for split in ("train", "validation")}
    train, validation = (shard.tokens for shard in shards.values())
    for split, tokens in (("training", train), ("validation", validation)):
        if len(tokens) < recipe.context + 1:
            raise InputError(
                f"the {split} split of corpus {recipe.corpus!r} has {len(tokens)} tokens but data.context = "
                f"{recipe.context} needs {recipe.context + 1}: use more text or a smaller context"
            )
    about = f"{recipe.corpus}, {len(train):,} training tokens ({made.name})"
    return Data(train, validation, made, shards["train"].header.corpus, about)


def _planned(recipe: DataRecipe) -> Data:
    order = open_plan(recipe.plan, recipe.context)
    made = plan_tokenizer(order, recipe.tokenizer)
    held, fingerprint = validation_tokens(recipe.corpus, made)
    about = f"plan {recipe.plan}, {len(order):,} windows ({made.name}); validation {recipe.corpus}"
    return Data(np.empty(0, dtype=np.uint16), held, made, fingerprint, about, order)


def _tokenizer(recipe: DataRecipe, text: Corpus, folder: Path) -> Tokenizer:
    """The named tokenizer; ``bpe:SIZE`` is trained once and kept in ``folder``."""
    if not recipe.tokenizer.startswith("bpe:"):
        return tokenizer(recipe.tokenizer)
    try:
        vocabulary = int(recipe.tokenizer.removeprefix("bpe:"))
    except ValueError:
        raise InputError(f"data.tokenizer = {recipe.tokenizer!r} must be bpe:SIZE, for example bpe:4096") from None
    path = folder / f"bpe-{vocabulary}-{text.fingerprint[:12]}.json"
    if not path.exists():
        train_bpe((document.text for document in text.split("train")), vocab_size=vocabulary).save(path)
    return tokenizer(path)


def pick_device(name: str) -> torch.device:
    """The device of that name: auto is the best there is; cpu, cuda, cuda:1 and mps are themselves.

    Raises:
        InputError: the name is none of these, or the device is absent.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = name.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, False):
        raise InputError(f"device {name!r} is not there: use {', '.join(k for k, ok in there.items() if ok)} or auto")
    number = name.partition(":")[2] or "0"
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if not number.isdecimal() or int(number) >= count:
        raise InputError(f"device {name!r} is not there: {kind} has {count}, numbered from 0")
    return torch.device(name)


def build(
    recipe: Recipe, data: Data, *, device: str = "cpu", hooks: Sequence[Hook] = (), world: World | None = None
) -> State:
    """A freshly initialised training state, before the first update.

    Raises:
        InputError: see ``Data.check`` and ``World.check``, or two hooks share a name.
    """
    where, world = pick_device(device), world or World()
    data.check(recipe)
    world.check(recipe)
    model = LanguageModel(recipe.model, generator=torch.Generator().manual_seed(recipe.seed)).to(where)
    world.attach(model, where, recipe)
    schedule = parse(recipe.schedule)
    options: dict[str, Any] = {"decay_embeddings": True, **recipe.optimizer}
    sam = options.pop("sam", None)
    optimizer: Optimizer = for_model(model, lr=schedule.peak, width_ratio=recipe.model.width_ratio, **options)
    if sam is not None:
        optimizer = with_sam(optimizer, sam, recipe.clip)
    scheduler = ScheduleLR(optimizer, schedule, recipe.steps)
    own: tuple[Hook, ...] = (BalanceHook(model),) if "moe" in recipe.model.ffns else ()
    if (local := recipe.local_updates()) is not None:  # before the average, which takes in the mean of a round
        own += (LocalHook(LocalUpdates(local.period, steps=recipe.steps, mean=WorkerMean())),)
    if recipe.ema:
        own += (AverageHook(OnlineEMA(model, decay=recipe.ema)),)
    if (depth := recipe.depth_schedule()) is not None:
        own += (DepthHook(depth),)
    if data.order is not None:
        own += (PlanHook(data.order, recipe.batch, override=data.changed_plan),)
    names = [hook.name for hook in (*own, *hooks) if hook.name]
    if len(set(names)) < len(names):
        raise InputError(f"hooks are named {names}: give each a name of its own, it keys its state in a checkpoint")
    windows = tuple(torch.from_numpy(rows) for rows in data.windows(recipe))
    return State(
        recipe=recipe,
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        device=where,
        evaluate=lambda: float(_validated(model, windows, recipe.precision, world).mean()),
        hooks=own + tuple(hooks),
        data=data.fingerprints | _threads(recipe, where),
        world=world,
    )


def _threads(recipe: Recipe, device: torch.device) -> dict[str, str]:
    """What else decides the bits that ``micro_batches`` promises."""
    told = recipe.micro_batches and device.type == "cpu"
    return {"number of threads": str(torch.get_num_threads())} if told else {}


def _validated(model: LanguageModel, windows: Sequence[torch.Tensor], precise: str, world: World) -> np.ndarray:
    """``window_losses`` with the batches dealt out to the processes, as many to each: some measure one once more."""
    turns = -(-len(windows) // world.size)
    mine = [windows[min(turn * world.size + world.rank, len(windows) - 1)] for turn in range(turns)]
    each = [world.gather(window_losses(model, [batch], precise)) for batch in mine]
    return np.concatenate([losses for turn in each for losses in turn][: len(windows)])


def precision(name: str, device: torch.device) -> AbstractContextManager[object]:
    """The autocast context of a recipe's ``precision``."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if name == "bf16" else nullcontext()


def window_losses(model: LanguageModel, windows: Sequence[torch.Tensor], precise: str = "fp32") -> np.ndarray:
    """The loss of each validation window, float64 (windows,), nats per token; leaves the model as it was.

    A batch whose float32 logits would exceed ``LOGIT_BYTES`` is taken in parts.

    Args:
        model: on any device.
        windows: batches of token ids (rows, context + 1).
        precise: a recipe's ``precision``.
    """
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    losses = []
    with torch.no_grad(), precision(precise, device):
        most = max(1, LOGIT_BYTES // (4 * model.config.vocab_size * (windows[0].shape[1] - 1)))
        for rows in (part.to(device) for batch in windows for part in batch.split(most)):
            logits = model(rows[:, :-1]).logits
            each = torch.nn.functional.cross_entropy(logits.transpose(1, 2).float(), rows[:, 1:], reduction="none")
            losses.append(each.double().mean(dim=1).cpu().numpy())
    model.train(training)
    return np.concatenate(losses)
