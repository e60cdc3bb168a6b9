from __future__ import annotations

import subprocess
import sys

import pytest

import thalweg.nn


def test_shapes_and_costs_are_known_without_torch() -> None:
    code = (
        "import sys, thalweg.nn as n; n.flops_per_token(n.size('mini'));"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there() -> None:
    for name in thalweg.nn.__all__:
        assert getattr(thalweg.nn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        thalweg.nn.nothing  # noqa: B018
