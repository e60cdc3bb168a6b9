"""thalweg average: one set of weights from several checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["average"]


def average(
    *checkpoints: Path,
    out: Path,
    kind: Literal["sma", "ema", "wma"] = "sma",
    alpha: float = 0.2,
    form: Literal["recursive", "geometric"] = "recursive",
    evaluate: bool = False,
) -> None:
    """Average the weights of checkpoints, given from the oldest to the newest, into OUT/model.safetensors.

    Parameters
    ----------
    checkpoints
        Checkpoint folders (…/checkpoints/step-00000100; of split weights too) or .safetensors files.
    out
        Folder for the average.
    kind
        sma (equal weights), ema (exponential) or wma (decreasing, imitates a decay).
    alpha
        Of ema: the share of the newest.
    form
        Of ema: the recursion, or the plain geometric series.
    evaluate
        Then measure the validation loss of the average and of the newest checkpoint, as the run of the latter says.
    """
    from thalweg.errors import InputError
    from thalweg.train.averaging import average_checkpoints, ema, sma, wma

    if not checkpoints:
        raise InputError("average got no checkpoint; name at least one folder")
    count = len(checkpoints)
    weights = {"sma": lambda: sma(count), "wma": lambda: wma(count), "ema": lambda: ema(count, alpha, form=form)}[
        kind
    ]()
    average_checkpoints(checkpoints, weights, out=out / "model.safetensors")
    print(out / "model.safetensors")
    if evaluate:
        from thalweg.train.checkpoint_loss import average_and_newest

        losses = average_and_newest(out / "model.safetensors", checkpoints[-1])
        print(f"validation loss {losses['average']:.4f} nats/token; newest checkpoint alone {losses['newest']:.4f}")
