"""thalweg predict: the loss curve of a schedule that was not run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thalweg.laws import Trust

__all__ = ["predict"]


def predict(
    law: Path,
    /,
    *,
    schedule: str,
    steps: int,
    csv: Path | None = None,
    plot: Path | None = None,
    json: bool = False,
) -> None:
    """Predict the loss curve of a schedule, its final loss with an interval, and how much to trust it.

    Parameters
    ----------
    law
        A law saved by `thalweg fit --out`.
    schedule
        Schedule spec, e.g. wsd:peak=3e-4,warmup=2160,decay=4000,floor=3e-5
    steps
        Optimizer steps of the run.
    csv
        Write the predicted curve here (columns step, lr, loss), one row a step.
    plot
        Draw it here (.png, .svg or .pdf).
    json
        Print one JSON object.
    """
    from dataclasses import asdict

    from thalweg.cli.figures import check, save
    from thalweg.cli.output import emit
    from thalweg.files import write_atomic
    from thalweg.laws import load_law
    from thalweg.schedules import parse

    check(plot)
    fitted, chosen = load_law(law), parse(schedule)
    rates = chosen.rates(steps)
    losses = fitted.predict(chosen, steps)
    warm = chosen.warmup_steps(steps)
    trust = None if fitted.record is None else fitted.trust(chosen, steps)
    if csv is not None:
        pairs = zip(rates.tolist(), losses.tolist(), strict=True)
        rows = "".join(f"{k},{rate!r},{loss!r}\n" for k, (rate, loss) in enumerate(pairs) if k >= warm)
        write_atomic(csv, f"step,lr,loss\n{rows}")
    if plot is not None:
        from thalweg.web.law_figures import prediction_figure

        save(prediction_figure(fitted, {str(chosen): rates}, warm), plot)
    if json:
        result = {"law": fitted.name, "schedule": str(chosen), "steps": steps, "final_loss": float(losses[-1])}
        curve = {"warmup_steps": warm, "losses": losses, "rates": rates}
        emit("predict", result | {"trust": None if trust is None else asdict(trust)} | curve)
        return
    print(f"{chosen}, {steps} steps")
    _print(float(losses[-1]), trust)


def _print(final: float, trust: Trust | None) -> None:
    from thalweg.cli.output import table

    if trust is None:
        table(("final loss",), [(f"{final:.5f} nats/token",)])
        return
    low, high = trust.interval
    table(
        ("final loss", "90 % interval", "trust", "spread between laws"),
        [(f"{trust.final_loss:.5f}", f"{low:.5f} to {high:.5f}", trust.level, f"{trust.spread:+.5f}")],
    )
    print(f"trust is {trust.level}: {trust.reason}")
