"""thalweg design: the schedule of least predicted final loss."""

from __future__ import annotations

from pathlib import Path

__all__ = ["design"]


def design(
    law: Path,
    /,
    *,
    steps: int,
    peak: float,
    warmup: int = 0,
    floor: float = 0.0,
    rising: bool = False,
    decay: float | None = None,
    csv: Path | None = None,
    plot: Path | None = None,
    json: bool = False,
) -> None:
    """Find the schedule a law predicts to end lowest, and compare it with cosine and WSD.

    Parameters
    ----------
    law
        A multi-power or momentum law saved by `thalweg fit --out`.
    steps
        Optimizer steps of the run, warmup included.
    peak
        Largest learning rate; the law knows only the one it was fitted at.
    warmup
        Steps of linear warmup.
    floor
        Smallest learning rate after the warmup; 0 asks the law where it was never fitted.
    rising
        Let the rate rise again after a fall.
    decay
        Longest decay: a fraction of the run up to 1, or steps; before it the rate stays at one level.
    csv
        Write the rate of every step here (columns schedule, step, lr).
    plot
        Draw it here (.png, .svg or .pdf).
    json
        Print one JSON object.
    """
    from thalweg.cli.figures import check, save
    from thalweg.cli.output import emit, table
    from thalweg.files import write_atomic
    from thalweg.laws import design as solve
    from thalweg.laws import load_law
    from thalweg.laws.designing import usual

    check(plot)
    fitted = load_law(law)
    best = solve(fitted, steps=steps, peak=peak, warmup=warmup, floor=floor, monotone=not rising, decay=decay)
    compact = best.compact
    if csv is not None:
        rows = "".join(f"designed,{step},{rate!r}\n" for step, rate in enumerate(best.rates.tolist()))
        write_atomic(csv, f"schedule,step,lr\n{rows}")
    others = usual(steps, peak, warmup, floor, decay)
    losses = {name: fitted.final_loss(schedule, steps) for name, schedule in others.items()}
    if plot is not None:
        from thalweg.schedules.figure import plot as draw

        save(draw([compact, *others.values()], steps), plot)
    if json:
        result = {
            "final_loss": best.final_loss,
            "rates": best.rates,
            "schedule": str(compact),
            "notes": list(best.notes),
        }
        emit("design", result | {"others": losses})
        return
    rows = [("designed", f"{best.final_loss:.5f}", "")]
    rows += [(name, f"{loss:.5f}", f"{loss - best.final_loss:+.5f}") for name, loss in losses.items()]
    table(("schedule", "predicted final loss", "above designed"), rows)
    print(f"spec: {compact}")
    for note in best.notes:
        print(f"note: {note}")
