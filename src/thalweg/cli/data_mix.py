"""thalweg data mix: the best training mixture for a known test mixture."""

from __future__ import annotations

from pathlib import Path

__all__ = ["mix"]


def mix(
    curves: Path, /, *, target: str, samples: float, caps: str | None = None, floor: bool = True, json: bool = False
) -> None:
    """Find the training shares of least test loss, from one learning curve a component.

    Parameters
    ----------
    curves
        CSV with columns component, samples, error: runs with different amounts of that component's data.
    target
        Test shares, such as "web=0.7,code=0.2,math=0.1"; they sum to 1.
    samples
        Training examples in all, in the unit of the table.
    caps
        Largest shares, such as "math=0.15": what repetition allows. Others have none.
    floor
        Fit an error that no amount of data removes.
    json
        Print one JSON object.
    """
    from dataclasses import asdict

    from thalweg.cli.output import emit, table
    from thalweg.errors import InputError, suggest
    from thalweg.laws.columns import read_columns
    from thalweg.laws.learning_curves import fit_learning_curve
    from thalweg.laws.mixtures import PowerCurves, optimal_mixture

    wanted = _shares("target", target)
    limits = _shares("caps", caps) if caps else {}
    numbers, names = read_columns(curves, ("samples", "error"), names=("component",))
    measured = set(names["component"])
    for word, group, known in (("target", wanted, measured), ("caps", limits, set(wanted))):
        for name in group:
            if name not in known:
                raise InputError(f"{word} names {name!r}, which is not there: {suggest(name, known)}")
    fits = {}
    for name in wanted:
        rows = [k for k, each in enumerate(names["component"]) if each == name]
        fits[name] = fit_learning_curve(numbers["samples"][rows], numbers["error"][rows], floor=floor)
    law = PowerCurves(
        [fit.scale for fit in fits.values()],
        [fit.exponent for fit in fits.values()],
        floor=[fit.floor for fit in fits.values()],
    )
    advice = optimal_mixture(list(wanted.values()), law, samples, caps=[limits.get(name, 1.0) for name in wanted])
    least = {name: float(numbers["samples"][[n == name for n in names["component"]]].min()) for name in wanted}
    outside = [name for name, q in zip(wanted, advice.shares, strict=True) if 0 < q * samples < least[name]]
    if json:
        result = {
            "target": wanted,
            "shares": dict(zip(wanted, advice.shares, strict=True)),
            "fits": {name: asdict(fit) for name, fit in fits.items()},
            "loss": advice.loss,
            "loss_same": advice.loss_same,
            "sample_ratio": advice.sample_ratio,
            "extrapolated": outside,
        }
        emit("data mix", result)
        return
    rows = [
        (
            name,
            f"{p:.2%}",
            f"{q:.2%}",
            f"{q / p - 1:+.0%}" if p else "",
            f"{fit.floor:.4g} + {fit.scale:.4g} n^-{fit.exponent:.3f}",
            f"{fit.exponent_error:.3f}",
            f"{fit.misfit:.1%}",
        )
        for (name, p), q, fit in zip(wanted.items(), advice.shares, fits.values(), strict=True)
    ]
    table(("component", "test", "train", "change", "error(n)", "± exponent", "misfit"), rows)
    print(f"\npredicted test error {advice.loss:.5g}, on the test mixture itself {advice.loss_same:.5g}", end="")
    print(f": {advice.sample_ratio:.1%} of the examples do" if advice.sample_ratio is not None else "")
    for name in outside:
        print(
            f"{name} gets fewer examples than its smallest run had ({least[name]:g}): its curve is extrapolated there"
        )


def _shares(word: str, text: str) -> dict[str, float]:
    from thalweg.errors import InputError

    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        name = name.strip()
        try:
            share = float(value)
        except ValueError:
            share = -1.0
        if not equals or not name or not 0 <= share <= 1 or name in found:
            raise InputError(f"{word} {part.strip()!r} is not name=share with a share in 0 … 1, each name once")
        found[name] = share
    return found
