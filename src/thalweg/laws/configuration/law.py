"""The configuration law: from a full training configuration to the final loss, or the loss curve, with an interval.

loss(configuration) = chi(N, D) + residual(configuration), chi the Chinchilla baseline, the residual from a backbone:
``surface`` (the embedded default), ``boosted``, ``tiny`` (a small transformer on the sequence encoding) or a folder
that holds a language model of transformers.

Source: arXiv 2602.10300. Differs: docs/cards/laws.md.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from thalweg.errors import InputError, suggest
from thalweg.files import write_atomic
from thalweg.laws.chinchilla_size import ChinchillaSize
from thalweg.laws.configuration.baseline import fit_baseline
from thalweg.laws.configuration.calibration import Z90, Calibration, Found, Region, calibrate
from thalweg.laws.configuration.ensemble import Backbone, BoostedEnsemble, SurfaceEnsemble, size_table
from thalweg.laws.configuration.fields import FIELDS
from thalweg.laws.configuration.table import ConfigTable, Value

__all__ = ["BACKBONES", "ConfigurationLaw", "Prediction"]

BACKBONES = ("surface", "boosted", "tiny")
FORMAT = 2
LEAST_RUNS = 12


@dataclass(frozen=True, eq=False, slots=True)
class Prediction:
    """Predicted losses of n configurations, nats per token.

    Attributes:
        loss: mean of the members (n,).
        low: lower end of the 90 % interval for a run (n,).
        high: upper end (n,).
        baseline: what the Chinchilla law alone says (n,).
        beyond: a configuration's fields outside the fitted range, in words; n of them, empty within.
    """

    loss: np.ndarray
    low: np.ndarray
    high: np.ndarray
    baseline: np.ndarray
    beyond: tuple[str, ...]


@dataclass(frozen=True, eq=False, slots=True)
class ConfigurationLaw:
    """A fitted law; `fit` makes it.

    Attributes:
        backbone: its name, or the folder of a language model.
        model: the fitted members.
        baseline: the Chinchilla law of the fitted rows.
        table: the fitted rows.
        calibration: of the intervals; None: the members' own deviations, taken as normal.
    """

    backbone: str
    model: Backbone
    baseline: ChinchillaSize
    table: ConfigTable
    calibration: Calibration | None = None

    @classmethod
    def fit(
        cls,
        table: ConfigTable,
        *,
        backbone: str = "surface",
        seed: int = 0,
        calibrated: bool | None = None,
        **options: Any,
    ) -> Self:
        """Fits a law to the training rows of a table.

        Args:
            table: at least 12 runs; only rows of split "train" are fitted. The networks choose their epoch on
                "in_val" where there are such rows, else on a tenth of the others.
            backbone: ``surface``, ``boosted``, ``tiny``, or a folder with a language model of transformers.
            seed: of all that is random.
            calibrated: whether the intervals' width is set on rows left out (see `calibrate`), which fits the law up to
                twice more (three times except for ``surface``) to fewer rows; None: except for networks. Fewer than
                30 runs are not calibrated.
            options: of the backbone: ``members``; for networks also ``epochs``, ``numbers`` (see `network.Training`).

        Raises:
            InputError: an unknown backbone, too few runs, or fewer than two amounts of data.
        """
        train = table.part("train")
        if len(train) < LEAST_RUNS:
            raise InputError(f"{len(train)} runs to fit: a configuration law needs at least {LEAST_RUNS}")
        base = fit_baseline(size_table(train))

        def members(rows: ConfigTable) -> Backbone:
            return _fit(backbone, rows, table.part("in_val"), base, seed, options)

        model, calibration = members(train), None
        if calibrated or (calibrated is None and backbone in ("surface", "boosted")):
            left_out = model.left_out(train) if isinstance(model, SurfaceEnsemble) else None
            calibration = calibrate(lambda rows: members(rows).predict, train, left_out, seed=seed)
        return cls(backbone, model, base, train, calibration)

    def predict(self, configs: ConfigTable | list[dict[str, Value]]) -> Prediction:
        """Predicted losses with intervals.

        A deviation adds in quadrature the members' own (noise included) and the spread between them; the interval is
        `Calibration.half_width` to both sides of the mean, or 1.645 deviations of a law that is not calibrated. It is
        for a run of a sweep like the fitted one.

        Raises:
            InputError: a field or word that was never fitted.
        """
        table = configs if isinstance(configs, ConfigTable) else ConfigTable.of(configs)
        found = self.model.predict(table)
        loss, half = found[0].mean(axis=0), self._half_width(table, found)
        base = self.baseline.predict(table.numbers["params"], table.numbers["tokens"])
        return Prediction(loss, loss - half, loss + half, base, self._beyond(table))

    def _half_width(self, table: ConfigTable, found: Found) -> np.ndarray:
        if self.calibration is None:
            means, deviations = found
            return Z90 * np.sqrt((deviations**2).mean(axis=0) + means.var(axis=0))
        return self.calibration.half_width(self.model.predict, Region.of(self.table), table, found)

    def predict_curve(self, config: dict[str, Value], fracs: np.ndarray) -> Prediction:
        """The loss after each share of the training in (0, 1].

        Raises:
            InputError: the fitted table had no column ``frac``.
        """
        if "frac" not in self.table.numbers:
            raise InputError("this law was fitted to final losses: a curve needs a table with the column frac")
        return self.predict(ConfigTable.of([dict(config) | {"frac": float(frac)} for frac in fracs]))

    def _beyond(self, table: ConfigTable) -> tuple[str, ...]:
        said: list[list[str]] = [[] for _ in range(len(table))]
        for name, column in table.numbers.items():
            if FIELDS[name].role in ("shape", "derived"):
                continue
            seen = self.table.numbers.get(name)
            known = seen[np.isfinite(seen)] if seen is not None else np.zeros(0)
            if len(known) == 0:
                for row in np.flatnonzero(np.isfinite(column)):
                    said[row].append(f"{name} was never fitted and is not used")
                continue
            low, high = known.min() * (1 - 1e-9), known.max() * (1 + 1e-9)
            for row in np.flatnonzero((column < low) | (column > high)):
                said[row].append(f"{name} = {column[row]:g} lies outside the fitted {low:g} to {high:g}")
        for name, column in table.texts.items():
            if name not in self.table.texts:
                for row in (row for row, word in enumerate(column) if word):
                    said[row].append(f"{name} was never fitted and is not used")
        return tuple("; ".join(parts) for parts in said)

    def save(self, path: str | Path) -> Path:
        """Writes the law as JSON, whole or not at all; weights of networks beside it (``.safetensors``)."""
        path = Path(path)
        weights = getattr(self.model, "weights", None)
        content = {
            "format": FORMAT,
            "law": "configuration",
            "backbone": self.backbone,
            "baseline": asdict(self.baseline),
            "model": self.model.to_dict(),
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
            "rows": _rows(self.table),
        }
        if weights is not None:
            from safetensors.numpy import save

            write_atomic(path.with_suffix(".safetensors"), save(weights()))
        return write_atomic(path, json.dumps(content, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            InputError: no such file, another law, another format, or damaged.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise InputError(f"law file {error.filename} does not exist: fit and save the law again") from None
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is no saved configuration law ({type(error).__name__}: {error})") from None
        return cls.from_json(text, str(path), weights=path.with_suffix(".safetensors"))

    @classmethod
    def from_json(cls, text: str, source: str = "the law", *, weights: Path | None = None) -> Self:
        """A law from the text that `save` wrote; networks also need the file of their ``weights``.

        Raises:
            InputError: another law, another format, damaged, or a network without its weights.
        """
        try:
            content = json.loads(text)
            if content["law"] != "configuration" or content["format"] != FORMAT:
                raise InputError(
                    f"{source} holds the law {content['law']!r} in format {content['format']!r}, not configuration in "
                    f"format {FORMAT}: fit it again"
                )
            table = _table(content["rows"])
            base = ChinchillaSize(**content["baseline"])
            backbone, saved = content["backbone"], content.get("calibration")
            if backbone in ("surface", "boosted"):
                kind = SurfaceEnsemble if backbone == "surface" else BoostedEnsemble
                model: Backbone = kind.from_dict(content["model"], table)
            elif weights is None:
                raise InputError(f"{source} keeps its weights in a file beside it: name it on the command line")
            else:
                from safetensors.numpy import load_file

                from thalweg.laws.configuration.network import NetworkEnsemble

                model = NetworkEnsemble.from_dict(content["model"], load_file(weights), base)
        except InputError:
            raise
        except FileNotFoundError as error:
            raise InputError(f"law file {error.filename} does not exist: fit and save the law again") from None
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{source} is no saved configuration law ({type(error).__name__}: {error})") from None
        return cls(backbone, model, base, table, Calibration(**saved) if saved else None)


def _fit(
    backbone: str, rows: ConfigTable, validation: ConfigTable, base: ChinchillaSize, seed: int, options: dict[str, Any]
) -> Backbone:
    if backbone == "surface":
        return SurfaceEnsemble.fit(rows, seed=seed, **options)
    if backbone == "boosted":
        return BoostedEnsemble.fit(rows, seed=seed, **options)
    if backbone == "tiny" or Path(backbone).is_dir():
        from thalweg.laws.configuration.network import NetworkEnsemble

        return NetworkEnsemble.fit(rows, validation, base, backbone=backbone, seed=seed, **options)
    raise InputError(f"backbone {backbone!r} is no folder and no name: {suggest(backbone, BACKBONES)}")


def _rows(table: ConfigTable) -> dict[str, Any]:
    numbers = {
        name: [None if np.isnan(value) else value for value in column.tolist()]
        for name, column in table.numbers.items()
    }
    texts = {name: list(column) for name, column in table.texts.items()}
    return {"numbers": numbers, "texts": texts, "losses": table.losses.tolist()}


def _table(content: dict[str, Any]) -> ConfigTable:
    numbers = {
        name: np.array([np.nan if value is None else value for value in column], dtype=np.float64)
        for name, column in content["numbers"].items()
    }
    losses = np.array(content["losses"], dtype=np.float64)
    return ConfigTable(numbers, content["texts"], losses, ["train"] * len(losses))
