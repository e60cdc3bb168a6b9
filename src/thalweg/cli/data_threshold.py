"""thalweg data threshold: whether a model of a given size will learn a rare source, and what to do if not."""

from __future__ import annotations

from pathlib import Path

__all__ = ["threshold"]


def threshold(
    law: Path,
    /,
    *,
    params: float,
    facts: float,
    ratio: float,
    exponent: float | None = None,
    shortening: float = 12.0,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Say whether facts at a mixing ratio will be learned, and the ratio, share or tuples that lift them over.

    Parameters
    ----------
    law
        A saved threshold law (.json), or a CSV with columns params, frequency: from which frequency models of
        different sizes learned a fact.
    params
        Parameters of the model to train.
    facts
        Facts in the dense source.
    ratio
        Share of the training tokens from that source, in (0, 1).
    exponent
        Exponent of the text loss in model size; fixes the slope at 1 + it, so that one model in the CSV is enough.
    shortening
        Tokens of one mention in prose over tokens of its compact tuple.
    out
        Save the fitted law here.
    json
        Print one JSON object.
    """
    from dataclasses import asdict

    from thalweg.cli.output import emit
    from thalweg.errors import InputError
    from thalweg.laws.columns import read_columns
    from thalweg.laws.knowledge import ThresholdLaw

    if law.suffix == ".json":
        if exponent is not None or out is not None:
            raise InputError("--exponent and --out go with a CSV of measured thresholds, not with a saved law")
        fitted = ThresholdLaw.load(law)
    else:
        numbers, _ = read_columns(law, ("params", "frequency"))
        fitted = ThresholdLaw.fit(numbers["params"], numbers["frequency"], exponent=exponent)
    advice = fitted.advise(params, facts=facts, ratio=ratio, shortening=shortening)
    if out is not None:
        fitted.save(out)
    if json:
        emit("data threshold", {"law": asdict(fitted), "advice": {**asdict(advice), "learned": advice.learned}})
        return
    print(f"threshold: frequency {fitted.scale:.4g} N^-{fitted.slope:.3f} (± {fitted.slope_error:.3f})")
    print(f"at {params:g} parameters {advice.threshold:.3g} with the margin; here a fact has {advice.frequency:.3g}")
    if advice.learned:
        print("above the threshold: the facts will be learned, as far as the model has room for all of them")
    else:
        ways = [f"keep at most {advice.keep:.1%} of the facts"]
        if advice.least_ratio < 1:
            ways.insert(0, f"a ratio of at least {advice.least_ratio:.3g}")
        if advice.compact < float("inf"):
            ways.append(f"add tuples worth {advice.compact:.2f} of the source's tokens at the same ratio")
        print(f"below the threshold, next to nothing will be learned; one of these lifts it: {'; '.join(ways)}")
    if advice.clipped:
        print(f"{params:g} lies outside the fitted {fitted.smallest:g} … {fitted.largest:g}: extrapolated")
