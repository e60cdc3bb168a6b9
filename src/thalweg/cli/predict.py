"""thalweg predict: the loss curve of a schedule, or the loss of a configuration, that was not run."""

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
    schedule: str = "",
    steps: int = 0,
    config: str = "",
    points: int = 0,
    csv: Path | None = None,
    plot: Path | None = None,
    json: bool = False,
) -> None:
    """Predict the loss of a schedule, or of a full training configuration, with an interval and what to trust.

    Parameters
    ----------
    law
        A law saved by `thalweg fit --out`.
    schedule
        Schedule spec, e.g. wsd:peak=3e-4,warmup=2160,decay=4000,floor=3e-5
    steps
        Optimizer steps of the run.
    config
        For a configuration law, e.g. optimizer=adamw,params=520M,tokens=10B,lr=0.004,batch=256
    points
        For a configuration law fitted to curves: points of the loss curve.
    csv
        Write the predicted curve here (columns step, lr, loss), one row a step.
    plot
        Draw it here (.png, .svg or .pdf).
    json
        Print one JSON object.
    """
    from dataclasses import asdict

    from thalweg.cli.configuration import is_configuration, predict_configuration
    from thalweg.cli.figures import check, save
    from thalweg.cli.output import emit
    from thalweg.errors import InputError
    from thalweg.files import write_atomic
    from thalweg.laws import load_law
    from thalweg.schedules import parse

    if is_configuration(law):
        if not config:
            raise InputError(f"{law} is a configuration law: give --config, as optimizer=adamw,params=520M,tokens=10B")
        if plot is not None:
            raise InputError("--plot draws a schedule's curve: of a configuration law take --points 50 --csv FILE")
        if csv is not None and not points:
            raise InputError("--csv writes a configuration's curve: say at how many points, as --points 50")
        predict_configuration(law, config, points=points, csv=csv, json=json)
        return
    if not schedule or steps < 1:
        raise InputError(
            f"schedule is {schedule!r} and steps {steps}: give both, as --schedule wsd:peak=3e-4 --steps 24000"
        )
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
