"""Biographies: counts, independence, values last, nothing static."""

import re

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.tasks.biographies import ATTRIBUTES, TEMPLATES, Biographies

PEOPLE = Biographies(2000, seed=3)


def test_names_are_distinct_and_facts_uniform():
    assert len({PEOPLE.name(k) for k in range(2000)}) == 2000
    assert PEOPLE.bits == pytest.approx(45.5, abs=0.15)
    many = Biographies(60_000)
    for column, count in zip(many.facts.T, ATTRIBUTES.values(), strict=True):
        assert (column.min(), column.max()) == pytest.approx((0, count - 1), abs=count / 100)
        if count < 1000:
            seen = np.bincount(column, minlength=count)
            chi = ((seen - 60_000 / count) ** 2 / (60_000 / count)).sum()
            assert abs(chi - (count - 1)) < 5 * np.sqrt(2 * count)
    assert abs(np.corrcoef(many.facts.T) - np.eye(5)).max() < 0.02


def test_every_value_has_a_word_of_its_own():
    many = Biographies(60_000)
    for name, count in ATTRIBUTES.items():
        seen = {many.value(k, name) for k in range(8000)}
        assert len(seen) <= count
        if count < 1000:
            assert len(seen) == count
    assert re.fullmatch(r"[A-Z][a-z]+ [0-2]\d, 19\d\d", PEOPLE.value(0, "birth_date"))


def test_a_biography_tells_all_facts_in_a_new_way_each_time():
    rng = np.random.default_rng(0)
    told = [PEOPLE.render(7, rng) for _ in range(50)]
    assert len(set(told)) > 45
    for text in told:
        assert all(f"{PEOPLE.value(7, name)}." in text for name in ATTRIBUTES)
        assert text.count(PEOPLE.name(7)) == 5
    assert all(value in PEOPLE.compact(7, rng) for value in (PEOPLE.name(7), PEOPLE.value(7, "major")))


def test_probes_are_the_sentences_without_their_ends():
    probes = PEOPLE.probes([1, 4])
    assert len(probes) == 2 * 5 * 5
    for probe in probes:
        assert probe.value == f" {PEOPLE.value(probe.person, probe.attribute)}"
        assert PEOPLE.name(probe.person) in probe.prompt
    assert all(len(set(each)) == 5 for each in TEMPLATES.values())


def test_the_same_everywhere():
    again = Biographies(2000, seed=3)
    assert again.name(11) == PEOPLE.name(11) == GOLDEN[0]
    assert again.value(11, "employer") == GOLDEN[1]
    assert Biographies(2000, seed=4).name(11) != PEOPLE.name(11)


GOLDEN = ("Manun Kohal Brebous", "Keapeas Company")


def test_bad_input():
    for people, seed in ((0, 0), (200_000_000, 0), (5, -1)):
        with pytest.raises(InputError, match="people"):
            Biographies(people, seed)
