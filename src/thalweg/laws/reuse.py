"""How many fresh examples K epochs over N unique ones are worth: the effective reuse rate E(K, N).

E(K, N) = N'(L) / N, where L is the loss after K epochs over N and N'(L) the size at which one pass over fresh data
reaches it, each at its own best learning rate. It is K for few epochs and saturates at a level that grows with N.

Source: Yan et al., "Larger Datasets Can Be Repeated More", arXiv 2511.13421 (definition of E; saturation like log N or
N^γ); Muennighoff et al., arXiv 2305.16264 (N' = N (1 + R (1 - e^{-(K-1)/R})), R = 15.39).
Differs: 1. the smooth law between the regimes is our own: Muennighoff's form with R(N) = a + c ln N ("log") or a N^γ
("power"); c = 0 is Muennighoff's. 2. the one-pass curve is interpolated (log-log, monotone), never extrapolated.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from thalweg.errors import InputError, suggest

__all__ = ["ReuseLaw", "ReuseTable", "effective_reuse", "passes_worth"]

MUENNIGHOFF = 15.39
"""Their R_D* (arXiv 2305.16264), fitted to language models."""

FORMS = MappingProxyType({"muennighoff": 1, "log": 2, "power": 2})
"""Forms of R(N) and their number of parameters."""

Form = Literal["muennighoff", "log", "power"]


@dataclass(frozen=True, eq=False)
class ReuseTable:
    """Effective reuse of some runs.

    Attributes:
        epochs: K of each (n,).
        unique: N of each (n,), in any unit.
        reuse: E(K, N); NaN where the loss lies outside the one-pass curve, which is never extrapolated.
        bound: E is at least this where the loss lies below the curve (its largest size over N), else NaN.
    """

    epochs: np.ndarray
    unique: np.ndarray
    reuse: np.ndarray
    bound: np.ndarray


def effective_reuse(
    one_pass: tuple[Sequence[float], Sequence[float]], runs: Sequence[tuple[float, float, float]]
) -> ReuseTable:
    """E(K, N) of each run, from one-pass runs of several sizes.

    Args:
        one_pass: sizes N' and the losses after one pass over them, each at its best learning rate; of runs that share a
            size the least loss counts. Losses must fall with size.
        runs: (epochs K, unique N, loss); of runs that share K and N the least loss counts (min over learning rates).

    Raises:
        InputError: fewer than two sizes, losses that do not fall with size, or a number that is not finite and > 0.
    """
    sizes, losses = _least(np.asarray(one_pass[0], dtype=float), np.asarray(one_pass[1], dtype=float))
    table: dict[tuple[float, float], float] = {}
    for epochs, unique, loss in runs:
        if not (np.isfinite([epochs, unique, loss]).all() and epochs >= 1 and unique > 0 and loss > 0):
            raise InputError(f"run ({epochs}, {unique}, {loss}): give epochs >= 1, unique > 0 and a finite loss > 0")
        table[epochs, unique] = min(loss, table.get((epochs, unique), np.inf))
    if not table:
        raise InputError("there are no runs of several epochs: give at least one (epochs, unique, loss)")
    keys = np.array(sorted(table))
    found = np.array([table[tuple(key)] for key in keys])
    equal = np.exp(np.interp(-np.log(found), -np.log(losses), np.log(sizes), left=np.nan, right=np.nan))
    below = np.where(found < losses[-1], sizes[-1], np.nan)
    return ReuseTable(keys[:, 0], keys[:, 1], equal / keys[:, 1], below / keys[:, 1])


def _least(sizes: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if sizes.ndim != 1 or sizes.shape != losses.shape or not np.all(np.isfinite(sizes * losses)):
        raise InputError("one-pass sizes and losses must be finite, one of each a run")
    if np.any(sizes <= 0) or np.any(losses <= 0) or len(np.unique(sizes)) < 2:
        raise InputError("the one-pass curve needs two or more sizes > 0 with losses > 0")
    distinct = np.unique(sizes)
    least = np.array([losses[sizes == size].min() for size in distinct])
    rises = np.flatnonzero(np.diff(least) >= 0)
    if len(rises):
        at = rises[0]
        raise InputError(
            f"the one-pass loss does not fall from size {distinct[at]:g} ({least[at]:g}) to {distinct[at + 1]:g} "
            f"({least[at + 1]:g}): tune the learning rate of each size, or average seeds"
        )
    return distinct, least


@dataclass(frozen=True, slots=True)
class ReuseLaw:
    """E(K, N) = 1 + R(N) (1 - e^{-(K-1)/R(N)}).

    Args:
        form: ``muennighoff`` R = a; ``log`` R = a + c ln N; ``power`` R = a N^c. R is at least 1e-3.
        a: see the form.
        c: see the form.
        smallest: least N it was fitted to.
        largest: greatest N it was fitted to.
        misfit: root mean square of log(E / fit).
    """

    form: Form = "muennighoff"
    a: float = MUENNIGHOFF
    c: float = 0.0
    smallest: float = 0.0
    largest: float = np.inf
    misfit: float = np.nan

    @classmethod
    def fit(cls, table: ReuseTable, form: Form = "log") -> ReuseLaw:
        """Least squares on log E over the runs whose E is known.

        Raises:
            InputError: an unknown form, or fewer runs with K > 1 than parameters.
        """
        from scipy.optimize import least_squares

        if form not in FORMS:
            raise InputError(f"form {form!r} is not known: {suggest(form, FORMS)}")
        kept = np.isfinite(table.reuse) & (table.epochs > 1)
        k, n, e = table.epochs[kept], table.unique[kept], table.reuse[kept]
        spread = len(np.unique(n)) if FORMS[form] == 2 else 2
        if len(e) < FORMS[form] or spread < 2:
            raise InputError(
                f"{len(e)} runs at {len(np.unique(n))} sizes do not determine form {form!r}: "
                "give runs of several epochs at two or more sizes inside the one-pass curve"
            )

        def residual(w: np.ndarray) -> np.ndarray:
            return np.log(passes_worth(k, _saturation(form, n, *w)) / e)

        starts = {"muennighoff": [[1.0], [10.0]], "log": [[1.0, 0.5], [0.0, 2.0]], "power": [[1.0, 0.1], [0.5, 0.5]]}
        trials = [least_squares(residual, start, xtol=1e-13, ftol=1e-13) for start in starts[form]]
        best = min(trials, key=lambda trial: trial.cost)
        a, c = [*map(float, best.x), 0.0][:2]
        return cls(form, a, c, float(n.min()), float(n.max()), float(np.sqrt(2 * best.cost / len(e))))

    def to_json(self) -> str:
        """The law as JSON text; `from_json` gives it back bit for bit."""
        params = {name: value if np.isfinite(value) else None for name, value in asdict(self).items() if name != "form"}
        return json.dumps({"format": 1, "law": "reuse", "params": {"form": self.form} | params}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ReuseLaw:
        """A law from the text that `to_json` wrote.

        Raises:
            InputError: the text is something else.
        """
        try:
            content = json.loads(text)
            params = dict(content["params"])
            if content["law"] != "reuse" or content["format"] != 1:
                raise KeyError("law")
            for name, missing in (("largest", np.inf), ("misfit", np.nan)):
                params[name] = missing if params[name] is None else float(params[name])
            forms: dict[str, Form] = {"muennighoff": "muennighoff", "log": "log", "power": "power"}
            made = cls(
                forms[params["form"]], *(float(params[name]) for name in ("a", "c", "smallest", "largest", "misfit"))
            )
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            words = f"{type(error).__name__}: {error}"
            raise InputError(
                f"this is no law of data reuse ({words}); give what thalweg data reuse --out wrote"
            ) from None
        if not np.isfinite([made.a, made.c]).all():
            raise InputError("this law of data reuse has parameters that are not finite: fit and save it again")
        return made

    def saturation(self, unique: float) -> float:
        """R(N): at most 1 + R passes' worth can be had from N."""
        if not unique > 0:
            raise InputError(f"unique = {unique:g} must be an amount of data > 0")
        return float(_saturation(self.form, np.asarray(unique, dtype=float), self.a, self.c))

    def reuse(self, unique: float, epochs: float) -> float:
        """E(K, N), passes' worth of fresh data."""
        if epochs < 1:
            raise InputError(f"epochs = {epochs:g} must be at least 1")
        return float(passes_worth(np.asarray(epochs, dtype=float), self.saturation(unique)))

    def effective_tokens(self, unique: float, epochs: float) -> float:
        """E(K, N) N: the fresh tokens that K epochs replace."""
        return self.reuse(unique, epochs) * unique

    def best_epochs(self, unique: float, marginal: float = 0.5) -> float:
        """The K at which one more epoch is worth ``marginal`` of a fresh pass: 1 + R ln(1 / marginal)."""
        if not 0 < marginal < 1:
            raise InputError(f"marginal = {marginal:g} must lie between 0 and 1")
        return 1 - self.saturation(unique) * float(np.log(marginal))

    def epochs_at(self, unique: float, share: float = 0.9) -> float:
        """The largest K with E(K, N) >= share K: up to there epochs are nearly as good as fresh data."""
        from scipy.optimize import brentq

        if not 0 < share < 1:
            raise InputError(f"share = {share:g} must lie between 0 and 1")
        rate = self.saturation(unique)
        root = brentq(lambda k: float(passes_worth(np.asarray(k), rate)) - share * k, 1.0, (1 + rate) / share + 1)
        return float(root)  # pyrefly: ignore


def _saturation(form: str, unique: np.ndarray, a: float, c: float = 0.0) -> np.ndarray:
    value = {"muennighoff": a, "log": a + c * np.log(unique), "power": a * unique**c}[form]
    return np.maximum(value, 1e-3)


def passes_worth(epochs: np.ndarray, rate: np.ndarray | float) -> np.ndarray:
    """E = 1 + R (1 - e^{-(K-1)/R}) of epochs K >= 1 and saturations R > 0, which broadcast."""
    return 1 - rate * np.expm1(-(epochs - 1) / rate)
