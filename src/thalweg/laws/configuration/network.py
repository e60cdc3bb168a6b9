"""A causal language model that reads a configuration and predicts the residual of its loss.

Numbers enter through an MLP in place of the token's embedding, the head is linear on the last hidden state of the last
token. Two backbones share all of this: a model of transformers from a local folder (extra ``hf``), and a small
transformer of this library trained from scratch (``tiny``).

Source: arXiv 2602.10300; zhqwqwq/Configuration-to-Performance-Scaling-Law at 4f6e64b0, src/model.py and src/train.py.
Differs: 1. targets are standardised; 2. the head reads the one position that is scored; 3. the caller's token ids are
left as they are (the code maps one id to 0 in place).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.errors import InputError, MissingExtra
from thalweg.laws.chinchilla_size import ChinchillaSize
from thalweg.laws.configuration.sequences import Numbers, Tokens, Words, pack, sequence, tokens_in, tokens_of
from thalweg.laws.configuration.table import ConfigTable
from thalweg.nn.config import ModelConfig
from thalweg.nn.model import LanguageModel
from thalweg.nn.places import locate
from thalweg.nn.rope import RopeTable

__all__ = ["NetworkEnsemble", "Regressor", "Training"]


@dataclass(frozen=True, slots=True)
class Training:
    """How a regressor is trained: AdamW with betas (0.9, 0.99), clipping at 1, warmup, then linearly to 0.

    Attributes:
        epochs: with all weights.
        lr: of these.
        frozen_epochs: before them, with the backbone frozen.
        frozen_lr: of these.
        warmup_steps: of the epochs with all weights; the frozen ones warm up for a tenth.
        batch: rows a step.
        weight_decay: AdamW's.
        numbers: the encoding, see ``sequences``.
        width: of the tiny backbone.
        layers: of the tiny backbone.
    """

    epochs: int = 60
    lr: float = 1e-3
    frozen_epochs: int = 0
    frozen_lr: float = 5e-5
    warmup_steps: int = 50
    batch: int = 128
    weight_decay: float = 0.01
    numbers: Numbers = "log"
    width: int = 64
    layers: int = 2


PRETRAINED = Training(epochs=1000, lr=1e-5, frozen_epochs=20, warmup_steps=1000, batch=480, numbers="official")
"""The official recipe of final losses."""


class Tiny(nn.Module):
    """The library's transformer, fed with embeddings.

    Args:
        vocabulary: tokens.
        training: its width and layers.
        context: longest sequence.
        generator: of the weights.
    """

    def __init__(self, vocabulary: int, training: Training, context: int, generator: torch.Generator) -> None:
        super().__init__()
        config = ModelConfig(
            vocab_size=vocabulary, dim=training.width, layers=training.layers, heads=4, context=context,
            tie_embeddings=True,
        )  # fmt: skip
        self.trunk = LanguageModel(config, generator).model
        self.width = training.width
        self._rope = RopeTable(config.head_dim, config.rope_theta, config.context)

    def embed(self, ids: Tensor) -> Tensor:
        """(n, t) to (n, t, width)."""
        return self.trunk.embed_tokens(ids)

    def forward(self, embeddings: Tensor, ids: Tensor) -> Tensor:
        """Last hidden states (n, t, width)."""
        places = locate(ids, self._rope)
        h = embeddings
        for block in self.trunk.layers:
            h = block(h, places)
        return self.trunk.norm(h)


class Pretrained(nn.Module):
    """A base model of transformers, fed with embeddings; float32.

    Args:
        folder: a local checkpoint.

    Raises:
        MissingExtra: transformers is not installed.
        InputError: the folder holds no model.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        try:
            from transformers import AutoModel
        except ImportError:
            raise MissingExtra("transformers", "hf") from None
        try:
            self.trunk: Any = AutoModel.from_pretrained(str(folder), local_files_only=True, dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise InputError(f"{folder} holds no model of transformers ({error})") from None
        self.width = self.trunk.config.hidden_size

    def embed(self, ids: Tensor) -> Tensor:
        """(n, t) to (n, t, width)."""
        return self.trunk.get_input_embeddings()(ids)

    def forward(self, embeddings: Tensor, ids: Tensor) -> Tensor:
        """Last hidden states (n, t, width); padding on the right is seen by nothing scored."""
        return self.trunk(inputs_embeds=embeddings).last_hidden_state


class Regressor(nn.Module):
    """Backbone, number encoder Linear(1, 2H) - ReLU - Linear(2H, H), and head Linear(H, 1).

    Args:
        backbone: `Tiny` or `Pretrained`.
    """

    def __init__(self, backbone: Tiny | Pretrained) -> None:
        super().__init__()
        width = backbone.width
        self.backbone = backbone
        self.encoder = nn.Sequential(nn.Linear(1, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, 1)

    def forward(self, ids: Tensor, values: Tensor, mask: Tensor, last: Tensor) -> Tensor:
        """Predictions (n,) from token ids, values and placeholders (n, t) and last positions (n,)."""
        numbers = self.encoder(values[..., None])
        embeddings = torch.where(mask[..., None], numbers, self.backbone.embed(ids))
        hidden = self.backbone(embeddings, ids)
        return self.head(hidden[torch.arange(len(ids), device=ids.device), last])[:, 0]


class NetworkEnsemble:
    """Regressors trained from different seeds; beyond the fitted range they are told apart by their spread alone.

    Args:
        about: what is saved as JSON.
        models: the regressors.
        tokens: of text.
        base: the Chinchilla law whose residual they predict.
    """

    name = "network"

    def __init__(
        self, about: dict[str, Any], models: Sequence[Regressor], tokens: Tokens, base: ChinchillaSize
    ) -> None:
        self.about, self.models, self.tokens, self.base = about, list(models), tokens, base
        self.training = Training(**about["training"])

    @classmethod
    def fit(
        cls,
        table: ConfigTable,
        validation: ConfigTable,
        base: ChinchillaSize,
        *,
        backbone: str = "tiny",
        seed: int = 0,
        members: int | None = None,
        device: str = "cpu",
        **options: Any,
    ) -> Self:
        """Trains the members.

        Args:
            table: rows to fit.
            validation: rows that choose the epoch; a tenth of ``table`` where there are none.
            base: the Chinchilla law.
            backbone: "tiny", or a folder of a model of transformers.
            seed: of weights and batches.
            members: regressors; 3 tiny ones or 1 other where None.
            device: where they are trained and stay until they are saved.
            options: fields of `Training`.

        Raises:
            InputError: an option that is none.
        """
        tiny = backbone == "tiny"
        try:
            training = replace(Training() if tiny else PRETRAINED, **options)
        except TypeError as error:
            raise InputError(f"options of a network: {', '.join(asdict(Training()))} ({error})") from None
        if len(validation) == 0:
            held = np.random.default_rng(seed).permutation(len(table)) < max(1, len(table) // 10)
            table, validation = table.rows(~held), table.rows(held)
        if tiny:
            pieces = [p for i in range(len(table)) for p in sequence(table.config(i), numbers=training.numbers)]
            tokens: Tokens = Words([piece for piece in pieces if isinstance(piece, str)])
        else:
            tokens = tokens_in(backbone)
        residual = _residual(table, base)
        about: dict[str, Any] = {"backbone": backbone, "training": asdict(training), "tokens": tokens.to_dict()}
        about |= {"centre": float(residual.mean()), "unit": float(residual.std() or 1.0), "seed": seed}
        inputs, checks = _inputs(table, tokens, training), _inputs(validation, tokens, training)
        about["context"] = 2 * inputs[0].shape[1]
        goal = torch.as_tensor((residual - about["centre"]) / about["unit"], dtype=torch.float32)
        wanted = torch.as_tensor((_residual(validation, base) - about["centre"]) / about["unit"], dtype=torch.float32)
        models = []
        for k in range(members or (3 if tiny else 1)):
            model = _build(about, tokens, seed + k).to(device)
            _train(model, inputs, goal, checks, wanted, training, seed + k)
            models.append(model.eval())
        ensemble = cls(about | {"members": len(models), "noise": 0.0}, models, tokens, base)
        missed = ensemble.predict(validation)[0].mean(axis=0) - validation.losses
        ensemble.about["noise"] = float(np.sqrt((missed**2).mean()))
        return ensemble

    def predict(self, table: ConfigTable) -> tuple[np.ndarray, np.ndarray]:
        """Losses and standard deviations by member, (k, n) each."""
        inputs = _inputs(table, self.tokens, self.training)
        base = self.base.predict(table.numbers["params"], table.numbers["tokens"])
        means = np.stack(
            [
                base + self.about["centre"] + self.about["unit"] * _apply(model, inputs).double().numpy()
                for model in self.models
            ]
        )
        return means, np.full_like(means, self.about["noise"])

    def weights(self) -> dict[str, np.ndarray]:
        """All weights by member and name."""
        return {
            f"{k}.{name}": value.detach().cpu().numpy()
            for k, model in enumerate(self.models)
            for name, value in model.state_dict().items()
        }

    def to_dict(self) -> dict[str, Any]:
        """All but the weights."""
        return dict(self.about)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], weights: Mapping[str, np.ndarray], base: ChinchillaSize) -> Self:
        """What `to_dict` and `weights` gave; a model of transformers is read from its folder for its shape."""
        tokens, models = tokens_of(content["tokens"]), []
        for k in range(content["members"]):
            model = _build(content, tokens, content["seed"])
            own = {name[len(f"{k}.") :]: torch.tensor(w) for name, w in weights.items() if name.startswith(f"{k}.")}
            model.load_state_dict(own)
            models.append(model.eval())
        return cls(dict(content), models, tokens, base)


def _residual(table: ConfigTable, base: ChinchillaSize) -> np.ndarray:
    return table.losses - base.predict(table.numbers["params"], table.numbers["tokens"])


def _build(about: Mapping[str, Any], tokens: Tokens, seed: int) -> Regressor:
    generator = torch.Generator().manual_seed(seed)
    if about["backbone"] == "tiny":
        backbone: Tiny | Pretrained = Tiny(tokens.size, Training(**about["training"]), about["context"], generator)
    else:
        backbone = Pretrained(about["backbone"])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Regressor(backbone)


Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


def _inputs(table: ConfigTable, tokens: Tokens, training: Training) -> Inputs:
    ids, values, mask, last = (torch.as_tensor(part) for part in pack(table, tokens, numbers=training.numbers))
    return ids, values, mask, last


def _apply(model: Regressor, inputs: Inputs) -> Tensor:
    device = model.head.weight.device
    with torch.no_grad():
        parts = [
            model(*(part.to(device) for part in batch)) for batch in zip(*(x.split(512) for x in inputs), strict=True)
        ]
    return torch.cat(parts).cpu()


def _train(
    model: Regressor, inputs: Inputs, goal: Tensor, checks: Inputs, wanted: Tensor, training: Training, seed: int
) -> None:
    """Both stages; ends with the weights of least validation error, which is looked at about thirty times."""
    generator = torch.Generator().manual_seed(seed)
    device = model.head.weight.device
    inputs, goal = (
        (inputs[0].to(device), inputs[1].to(device), inputs[2].to(device), inputs[3].to(device)),
        goal.to(device),
    )
    best, kept = float("inf"), None
    stages = [(training.frozen_epochs, training.frozen_lr, True), (training.epochs, training.lr, False)]
    for epochs, lr, frozen in stages:
        model.backbone.requires_grad_(not frozen)
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=lr, betas=(0.9, 0.99), weight_decay=training.weight_decay)
        per_epoch = -(-len(goal) // training.batch)
        total = epochs * per_epoch
        warm = max(1, total // 10 if frozen else min(training.warmup_steps, total // 2))
        step = 0
        for epoch in range(epochs):
            model.train()
            for index in torch.randperm(len(goal), generator=generator).split(training.batch):
                index = index.to(device)
                optimizer.param_groups[0]["lr"] = lr * min(1.0, (step + 1) / warm) * (1 - step / total)
                loss = (model(*(part[index] for part in inputs)) - goal[index]).square().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(weights, 1.0)
                optimizer.step()
                step += 1
            if (epoch + 1) % max(1, epochs // 30) == 0 or epoch + 1 == epochs:
                model.eval()
                error = float((_apply(model, checks) - wanted).square().mean())
                if error < best:
                    best, kept = error, {name: value.clone() for name, value in model.state_dict().items()}
    model.requires_grad_(True)
    if kept is not None:
        model.load_state_dict(kept)
