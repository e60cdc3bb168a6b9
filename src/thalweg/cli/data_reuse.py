"""thalweg data reuse: how many epochs pay."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["reuse"]


def reuse(
    runs: Path | None = None,
    /,
    *,
    form: Literal["muennighoff", "log", "power"] = "log",
    unique: float | None = None,
    marginal: float = 0.5,
    plot: Path | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Fit how much repeated data is worth, and say how many epochs pay.

    Without a table the published constant of Muennighoff et al. is used.

    Parameters
    ----------
    runs
        CSV with columns unique, epochs, loss: the loss at the end of each run; rows of one epoch are the one-pass
        curve. Where rows share unique and epochs the least loss counts, so give several learning rates.
    form
        Of the saturation R(N): muennighoff (a constant), log (a + c ln N) or power (a N^c).
    unique
        Unique data at hand, in the unit of the table (without a table: any).
    marginal
        An epoch pays while it is worth this share of a fresh pass.
    plot
        Draw E(K, N) here (.png, .svg or .pdf).
    out
        Write the law here (.json), for `thalweg plan --reuse`.
    json
        Print one JSON object.
    """
    from dataclasses import asdict

    import numpy as np

    from thalweg.cli import figures
    from thalweg.cli.output import emit, table
    from thalweg.errors import InputError
    from thalweg.laws.columns import read_columns
    from thalweg.laws.reuse import ReuseLaw, effective_reuse

    figures.check(plot)
    if runs is None and (unique is None or plot is not None):
        raise InputError("without a table of runs give --unique, and no --plot: the published constant is used")
    law, measured = ReuseLaw(), None
    if runs is not None:
        numbers, _ = read_columns(runs, ("unique", "epochs", "loss"))
        n, k, loss = numbers["unique"], numbers["epochs"], numbers["loss"]
        once = k == 1
        measured = effective_reuse((n[once], loss[once]), list(zip(k[~once], n[~once], loss[~once], strict=True)))
        law = ReuseLaw.fit(measured, form)
    if out is not None:
        from thalweg.files import write_atomic

        write_atomic(out, law.to_json())
    sizes = [unique] if unique is not None else sorted(set(measured.unique.tolist() if measured else []))
    outside = [size for size in sizes if not law.smallest <= size <= law.largest]
    advice = [
        {
            "unique": size,
            "saturation": law.saturation(size),
            "as_good_as_fresh": law.epochs_at(size),
            "stop": law.best_epochs(size, marginal),
            "worth": law.effective_tokens(size, law.best_epochs(size, marginal)),
        }
        for size in sizes
    ]
    if plot is not None and measured is not None:
        from thalweg.laws.reuse_figure import reuse_figure

        figures.save(reuse_figure(measured, law), plot)
    if json:
        cells = {} if measured is None else {name: getattr(measured, name) for name in measured.__dataclass_fields__}
        emit("data reuse", {"law": asdict(law), "measured": cells, "advice": advice, "extrapolated": outside})
        return
    if measured is not None:
        cells = [
            (
                f"{n:g}",
                f"{k:g}",
                f"{e:.2f}" if np.isfinite(e) else f"> {b:.2f}" if np.isfinite(b) else "?",
                f"{law.reuse(n, k):.2f}",
            )
            for n, k, e, b in zip(measured.unique, measured.epochs, measured.reuse, measured.bound, strict=True)
        ]
        table(("unique", "epochs", "worth, passes", "law"), cells)
        print(f"\nR(N) by form {law.form!r}: a = {law.a:.4g}, c = {law.c:.4g}, misfit {law.misfit:.1%}\n")
    rows = [
        (f"{row['unique']:g}", f"{row['as_good_as_fresh']:.1f}", f"{row['stop']:.1f}", f"{row['worth']:.4g}")
        for row in advice
    ]
    table(("unique", "epochs worth 90 % of fresh", f"stop at (an epoch is worth {marginal:g})", "worth then"), rows)
    for size in outside:
        print(f"{size:g} lies outside the fitted {law.smallest:g} … {law.largest:g}: the law is extrapolated there")
