from __future__ import annotations

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.laws import LossCurve
from thalweg.laws.curve import leading_ramp

GOOD = {"rates": [1.0, 1.0, 1.0], "steps": [0, 1, 2], "losses": [3.0, 2.9, 2.8]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rates": [1.0, -1.0, 1.0]}, "rate of step 1 is -1"),
        ({"rates": [1.0, np.nan, 1.0]}, "rate of step 1 is nan"),
        ({"rates": [0.0, 0.0, 0.0]}, "all 3 rates are 0"),
        ({"rates": []}, "non-empty"),
        ({"rates": "abc"}, "must be numbers"),
        ({"steps": [0, 1]}, "2 steps but 3 losses"),
        ({"steps": [0, 2, 1]}, "step 1 follows step 2"),
        ({"steps": [0, 1, 1]}, "step 1 follows step 1"),
        ({"steps": [0, np.nan, 1]}, "entry 1 of its steps is nan"),
        ({"steps": [0, 0.5, 1]}, "not a whole number"),
        ({"steps": [0, 1, 3]}, "step 3 lies outside its 3 rates"),
        ({"steps": [-1, 1, 2]}, "step -1 lies outside"),
        ({"losses": [3.0, np.nan, 2.0]}, "loss at step 1 is nan"),
        ({"losses": [3.0, 0.0, 2.0]}, "loss at step 1 is 0"),
        ({"warmup_steps": 4}, "give 0 to 3"),
    ],
)
def test_bad_curves_name_the_curve_and_the_entry(change, says):
    with pytest.raises(InputError, match=says) as caught:
        LossCurve("run-7", **(GOOD | change))
    assert "'run-7'" in str(caught.value)


def test_arrays_are_copied_and_frozen():
    rates = np.ones(3)
    curve = LossCurve("a", rates, [0, 2], [3.0, 2.0])
    rates[0] = 9.0
    assert curve.rates[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        curve.losses[0] = 1.0


@pytest.mark.parametrize(
    ("rates", "steps"), [([1, 1, 1], 0), ([0, 1, 2, 2, 1], 3), ([1, 2, 3], 3), ([3, 2, 1], 0), ([5], 0)]
)
def test_leading_ramp(rates, steps):
    assert leading_ramp(np.array(rates, dtype=float)) == steps
