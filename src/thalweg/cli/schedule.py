"""thalweg schedule: print, draw or export a schedule."""

from __future__ import annotations

from pathlib import Path

__all__ = ["schedule"]


def schedule(
    spec: str, /, *, steps: int, csv: Path | None = None, plot: Path | None = None, json: bool = False
) -> None:
    """Show what a schedule spec means: its phases, and its rates as a table, a CSV or a picture.

    Parameters
    ----------
    spec
        Schedule spec, e.g. wsd:peak=3e-4,warmup=100,decay=0.2,shape=1-sqrt,floor=0
    steps
        Optimizer steps of the run.
    csv
        Write the rate of every step here (columns schedule, step, lr).
    plot
        Draw it here (.png or .svg).
    json
        Print one JSON object.
    """
    from thalweg.cli.output import emit, table
    from thalweg.files import write_atomic
    from thalweg.schedules import parse

    chosen = parse(spec)
    rates = chosen.rates(steps)
    if csv is not None:
        rows = "".join(f"{chosen.name},{step},{rate!r}\n" for step, rate in enumerate(rates.tolist()))
        write_atomic(csv, f"schedule,step,lr\n{rows}")
    if plot is not None:
        from thalweg.cli.figures import save
        from thalweg.schedules.figure import plot as draw

        save(draw(chosen, steps), plot)
    phases = chosen.phases(steps)
    if json:
        listed = [{"name": p.name, "start": p.start, "stop": p.stop} for p in phases]
        emit("schedule", {"spec": str(chosen), "steps": steps, "phases": listed, "rates": rates})
        return
    print(chosen)
    rows = [(p.name, p.start, p.stop - 1, f"{rates[p.start]:.4g}", f"{rates[p.stop - 1]:.4g}") for p in phases]
    table(("phase", "first step", "last step", "first rate", "last rate"), rows)
