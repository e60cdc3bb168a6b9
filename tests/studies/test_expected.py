"""What each study came with: one form, and a verdict that its own threshold allows."""

from __future__ import annotations

import pytest

from thalweg.studies import STUDIES
from thalweg.studies.base import expected

NEEDED = {"slug", "title", "arxiv", "claim", "unit", "scale", "verdict", "effect", "error", "runs", "threshold"}
NEEDED |= {"seconds", "command", "date", "device", "versions", "paper", "ours"}


@pytest.mark.parametrize("slug", STUDIES)
def test_the_outcome_is_complete_and_agrees_with_its_threshold(slug):
    known = expected(slug)
    assert known.keys() >= NEEDED
    assert known["slug"] == slug
    assert all(second > 0 for second in known["seconds"])
    threshold = known["threshold"]  # of the reported effect; None where it is no demand of the rule
    if threshold is not None and known["verdict"] == "reproduced":
        assert known["effect"] - 2 * known["error"] > threshold
