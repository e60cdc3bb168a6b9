"""Skill chains against a reader of the words, their shares, and refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.tasks import SkillChains
from thalweg.testing import check_task


@pytest.mark.parametrize(
    "task",
    [
        SkillChains(hops=(1, 5), drills=0.5),
        SkillChains(drills=1.0),
        SkillChains(skills=2, digits=3, alpha=0.0, hops=(1, 1)),
    ],
)
def test_contract_with_other_parameters(task):
    check_task(task)


def read(task: SkillChains, row: list[str]) -> None:
    """Follows a written row with a dictionary of the maps."""
    value = {
        (str(x), f"skill{skill}"): str(y) for skill, each in enumerate(task.maps.tolist()) for x, y in enumerate(each)
    }
    if ":" not in row:
        assert len(row) % 4 == 0
        for x, name, equals, y in zip(row[::4], row[1::4], row[2::4], row[3::4], strict=True):
            assert (equals, y) == ("=", value[x, name])
        return
    prompt, chain = row[: row.index(":")], row[row.index(":") + 1 :]
    assert prompt[0] == chain[0]
    assert prompt[1:] == chain[1::3]
    state = chain[0]
    for name, equals, y in zip(chain[1::3], chain[2::3], chain[3::3], strict=True):
        state = value[state, name]
        assert (equals, y) == ("=", state)


def test_rows_say_what_the_maps_do():
    task = SkillChains(skills=20, hops=(1, 4), drills=0.4, seed=3)
    batch = task.sample(300, np.random.default_rng(0))
    kinds = []
    for ids, length, scored in zip(batch.ids, batch.lengths, batch.loss_mask, strict=True):
        words = [task.vocabulary[i] for i in ids[:length]]
        read(task, words)
        kinds.append(":" not in words)
        shown = [task.vocabulary[i] for i in ids[scored]]
        assert shown == (words[3::4] if kinds[-1] else words[words.index(":") + 1 :])
        assert (~scored[:length]).sum() == (3 * length // 4 if kinds[-1] else words.index(":") + 1)
    assert np.mean(kinds) == pytest.approx(0.4, abs=0.1)


def test_skills_of_chains_follow_the_law_and_those_of_drills_are_uniform():
    task, first = SkillChains(skills=6, drills=0.5, seed=1), 3 + 10
    batch = task.sample(6000, np.random.default_rng(0))
    chains = (batch.ids == 2).any(axis=1)
    in_chains = np.bincount(batch.ids[chains, 1] - first, minlength=6) / chains.sum()
    in_drills = np.bincount(batch.ids[~chains, 1] - first, minlength=6) / (~chains).sum()
    np.testing.assert_allclose(in_chains, task.law.frequencies, atol=4 * np.sqrt(0.25 / 3000))
    np.testing.assert_allclose(in_drills, 1 / 6, atol=4 * np.sqrt(0.25 / 3000))
    # the same skills whatever else is asked
    assert (replace(task, hops=(1, 9), alpha=0.0, drills=0.0).maps == task.maps).all()


def test_a_wrong_chain_of_thought_with_the_right_end_counts():
    task = SkillChains(skills=20)
    ids = task.sample(50, np.random.default_rng(0)).ids
    ids[:, 8] = 3 + (ids[:, 8] - 3 + 1) % 10  # the first step's value
    assert task.verify(ids).all()
    ids[:, 2] = 1  # no name
    assert not task.verify(ids).any()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"hops": (0, 2)}, "hops"),
        ({"hops": (3, 2)}, "hops"),
        ({"hops": 3}, "hops"),
        ({"drills": 1.5}, "drills"),
        ({"digits": 1}, "digits"),
        ({"skills": 0}, "skills"),
        ({"alpha": -1}, "alpha"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_parameters(options, word):
    with pytest.raises(InputError, match=word):
        SkillChains(**options)
