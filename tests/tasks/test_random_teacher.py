"""The stream: a pure function of the seed, inputs of the stated spectrum, labels by the formula."""

from __future__ import annotations

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.tasks.random_teacher import RandomTeacher


def test_batches_are_functions_of_seed_and_step():
    stream = RandomTeacher(seed=3)
    again = RandomTeacher(seed=3)
    for part, same in zip(stream.batch(5, 7), again.batch(5, 7), strict=True):
        assert (part == same).all()
    inputs = [stream.batch(0, 8)[0], stream.batch(1, 8)[0], stream.held_out(8)[0], RandomTeacher(seed=4).batch(0, 8)[0]]
    assert all((a != b).all() for k, a in enumerate(inputs) for b in inputs[:k])
    assert inputs[0].dtype == np.float32
    assert stream.batch(0, 8)[1].dtype == np.int64


def test_the_spectrum_falls_as_a_power():
    inputs, _ = RandomTeacher(decay=0.7).held_out(40_000)
    np.testing.assert_allclose(inputs.std(0), np.arange(1, 33) ** -0.7, rtol=0.02)  # 40,000 draws: 0.35 %
    np.testing.assert_allclose(inputs.mean(0), 0, atol=0.025)


def test_labels_are_the_teachers_largest_output():
    stream = RandomTeacher(dim=5, classes=3, hidden=4, seed=1)
    inputs, labels = stream.held_out(50)
    for row, label in zip(inputs.astype(float), labels, strict=True):
        hidden = [np.tanh(sum(w * x for w, x in zip(line, row, strict=True))) for line in stream._first]
        outputs = [sum(w * h for w, h in zip(line, hidden, strict=True)) for line in stream._second]
        assert label == int(np.argmax(outputs))


def test_every_class_occurs_and_none_rules():
    _, labels = RandomTeacher().held_out(20_000)
    shares = np.bincount(labels, minlength=16) / 20_000
    assert (shares > 0).sum() >= 12
    assert shares.max() < 0.4


@pytest.mark.parametrize("bad", [{"dim": 0}, {"classes": 1}, {"hidden": 0}, {"decay": -1.0}, {"scale": 0.0}])
def test_refusals(bad):
    with pytest.raises(InputError, match="must be"):
        RandomTeacher(**bad)
