"""The published loss curves of arXiv 2503.12811: which were fitted, which were tested, under which schedules.

Source: folder loss_curve_repo of thu-yao-01-luo/MultiPowerLaw (MIT), joined into one CSV a size (columns schedule,
step, lr, loss). The curves themselves are not part of Thalweg.
"""

from __future__ import annotations

from pathlib import Path

from thalweg.laws import LossCurve, read_curves
from thalweg.schedules import parse

__all__ = ["OFFICIAL", "SCHEDULES", "TEST", "TRAIN", "published_curves"]

TRAIN = ("cosine_24000", "constant_24000", "wsdcon_9")
TEST = ("constant_72000", "cosine_72000", "wsd_20000_24000", "wsdld_20000_24000", "wsdcon_3", "wsdcon_18")
OFFICIAL = {  # test averages of the official repository's README
    "25M": {"r2": 0.9988, "mae": 0.00376, "rmse": 0.00465, "pred_e": 0.00110, "worst_e": 0.00409},
    "100M": {"r2": 0.9983, "mae": 0.00435, "rmse": 0.00592, "pred_e": 0.00142, "worst_e": 0.00583},
}
_HEAD = "peak=3e-4,warmup=2160,ramp=zero"
SCHEDULES = {
    "cosine_24000": (f"cosine:{_HEAD},floor=3e-5", 24000),
    "constant_24000": (f"constant:{_HEAD}", 24000),
    "wsdcon_9": (f"two-stage:{_HEAD},at=8000,then=9e-5", 16000),
    "constant_72000": (f"constant:{_HEAD}", 72000),
    "cosine_72000": (f"cosine:{_HEAD},floor=3e-5", 72000),
    "wsd_20000_24000": (f"wsd:{_HEAD},decay=4000,shape=exponential,floor=3e-5", 24000),
    "wsdld_20000_24000": (f"wsd:{_HEAD},decay=4000,shape=linear,floor=3e-5", 24000),
    "wsdcon_3": (f"two-stage:{_HEAD},at=8000,then=3e-5", 16000),
    "wsdcon_18": (f"two-stage:{_HEAD},at=8000,then=1.8e-4", 16000),
}


def published_curves(folder: Path, size: str) -> dict[str, LossCurve]:
    """The nine curves of one size by name.

    Args:
        folder: holds ``SIZE.csv``.
        size: "25M" or "100M".

    Raises:
        InputError: the file cannot be read, or its rates are not those of the schedules.
    """
    rates = {name: parse(spec).rates(steps) for name, (spec, steps) in SCHEDULES.items()}
    return read_curves(folder / f"{size}.csv", schedules=rates)
