"""What a budget buys: FLOPs from GPU hours, GPU hours and money from FLOPs, and the memory of the training state.

    FLOPs = GPU hours · 3600 · peak FLOP/s · MFU,   training FLOPs = 6 N D

Source: vendors' data sheets (peaks of dense bf16 matrix products, without sparsity); 6 N D: Kaplan et al., arXiv
2001.08361, section 2.1; MFU (model FLOPs utilization): Chowdhery et al., arXiv 2204.02311, appendix B; 16 bytes a
parameter: Rajbhandari et al., arXiv 1910.02054, section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from thalweg.errors import InputError, suggest

__all__ = ["DEVICES", "MFU", "STATE_BYTES", "Budget", "Device", "state_memory"]

MFU = 0.4
"""Assumed share of the peak; a dense model on one to a few thousand devices usually gets 0.3 to 0.55."""
STATE_BYTES = 16
"""Weights, gradients and AdamW's state in mixed precision, bytes a parameter: 2 + 2 + 4 + 4 + 4 (or 4 + 4 + 8)."""
USABLE = 0.9  # share of a device's memory that a training state may fill


@dataclass(frozen=True, slots=True)
class Device:
    """An accelerator.

    Attributes:
        title: its name in full.
        peak: dense bf16 FLOP/s of the data sheet.
        memory: bytes.
    """

    title: str
    peak: float
    memory: float


def _device(title: str, teraflops: float, gigabytes: float) -> Device:
    return Device(title, teraflops * 1e12, gigabytes * 1e9)


DEVICES: Mapping[str, Device] = MappingProxyType(
    {
        "a100": _device("NVIDIA A100 SXM 80 GB", 312, 80),
        "a100-40gb": _device("NVIDIA A100 SXM 40 GB", 312, 40),
        "h100": _device("NVIDIA H100 SXM 80 GB", 989, 80),
        "h100-pcie": _device("NVIDIA H100 PCIe 80 GB", 756, 80),
        "h200": _device("NVIDIA H200 SXM 141 GB", 989, 141),
        "b200": _device("NVIDIA B200 SXM 180 GB", 2250, 180),
        "l40s": _device("NVIDIA L40S 48 GB", 362, 48),
        "l4": _device("NVIDIA L4 24 GB", 121, 24),
        "rtx-4090": _device("NVIDIA GeForce RTX 4090 24 GB", 165, 24),
        "rtx-3090": _device("NVIDIA GeForce RTX 3090 24 GB", 71, 24),
        "mi300x": _device("AMD Instinct MI300X 192 GB", 1307, 192),
        "tpu-v4": _device("Google TPU v4, a chip", 275, 32),
        "tpu-v5e": _device("Google TPU v5e, a chip", 197, 16),
        "tpu-v5p": _device("Google TPU v5p, a chip", 459, 95),
    }
)
"""Devices by name; peaks are of dense bf16 products (for H200 and L40S the data sheets name twice that, sparse)."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Training FLOPs, and what they take where a device is named; `of` makes it from either side.

    Attributes:
        flops: 6 N D that may be spent; None: size and tokens say it.
        device: key of `DEVICES`, or None.
        mfu: share of the device's peak that is reached, 0 to 1.
        price: of a GPU hour, in any currency, or None.
    """

    flops: float | None
    device: str | None = None
    mfu: float = MFU
    price: float | None = None

    @classmethod
    def of(
        cls,
        *,
        flops: float | None = None,
        gpu_hours: float | None = None,
        device: str | None = None,
        mfu: float = MFU,
        price: float | None = None,
    ) -> Budget:
        """A budget from FLOPs or from GPU hours.

        Args:
            flops: training FLOPs 6 N D, > 0; not with ``gpu_hours``. Neither: size and tokens say it.
            gpu_hours: device hours, > 0; needs ``device``.
            device: name in `DEVICES`.
            mfu: share of its peak, > 0 to 1.
            price: of a GPU hour, >= 0; needs ``device``.

        Raises:
            InputError: both amounts, an unknown or missing device, or a number out of range.
        """
        if flops is not None and gpu_hours is not None:
            raise InputError("the budget is given as FLOPs and as GPU hours: give one of them")
        for name, value in (("budget", flops), ("gpu_hours", gpu_hours)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value:g}: give a number > 0")
        if not 0 < mfu <= 1:
            raise InputError(f"mfu is {mfu:g}: give the share of the peak that is reached, above 0 and at most 1")
        if price is not None and not 0 <= price < math.inf:
            raise InputError(f"price is {price:g}: give the price of a GPU hour, >= 0")
        if device is not None and device not in DEVICES:
            raise InputError(f"device {device!r} is unknown: {suggest(device, DEVICES)}")
        if device is None and (gpu_hours is not None or price is not None):
            word = "GPU hours" if gpu_hours is not None else "a price"
            raise InputError(f"{word} without a device say nothing: name one of {', '.join(DEVICES)}")
        if gpu_hours is not None and device is not None:
            flops = gpu_hours * 3600 * DEVICES[device].peak * mfu
        return cls(flops, device, mfu, price)

    def hours(self, flops: float) -> float | None:
        """Device hours that ``flops`` take; None without a device."""
        return None if self.device is None else flops / (3600 * DEVICES[self.device].peak * self.mfu)

    def cost(self, flops: float) -> float | None:
        """What they cost; None without a device or a price."""
        hours = self.hours(flops)
        return None if hours is None or self.price is None else hours * self.price


def state_memory(params: float, device: str | None) -> tuple[float, int | None]:
    """Bytes of weights, gradients and AdamW's state, and how many devices hold them when split evenly.

    Activations come on top: they depend on micro-batch, context and recomputation. The count is None without a device.
    """
    size = STATE_BYTES * params
    return size, None if device is None else math.ceil(size / (USABLE * DEVICES[device].memory))
