from __future__ import annotations

import math
import pickle

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.data.preparing.batches import texts_of
from thalweg.data.preparing.contamination import index_test_items
from thalweg.data.preparing.ops import AddScore, Clean, RemoveContaminated, RemoveLow, RemoveUnfit, load_function
from thalweg.errors import InputError


def batch(*texts: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"text": list(texts)})


@pytest.mark.parametrize(
    ("step", "text", "wanted"),
    [
        (Clean(), "a  b \t\r\n\r\n\n\nc\0\x07\n", "a  b\n\nc"),
        (Clean(), "cafe\u0301 \ufb01", "caf\u00e9 \ufb01"),
        (Clean("NFKC"), "\ufb01", "fi"),
        (Clean("none"), "e\u0301", "e\u0301"),
        (Clean(whitespace="collapse"), " a \n\n b\u00a0c ", "a b c"),
        (Clean(whitespace="keep"), " a \r\n", " a \n"),
        (Clean(), "def f():\n    return 1\u2028x", "def f():\n    return 1\nx"),
    ],
)
def test_normalisation_by_example(step: Clean, text: str, wanted: str):
    assert texts_of(step(batch(text))) == [wanted]


@given(text=st.text(max_size=60), space=st.sampled_from(["lines", "collapse", "keep"]))
def test_normalising_twice_changes_nothing(text: str, space: str):
    step = Clean(whitespace=space)
    once = step.text(text)
    assert step.text(once) == once


def test_rules_name_the_first_limit_that_is_broken():
    step = RemoveUnfit({"words": (2, 4), "mean_word_length": (2, 3)})
    found = batch("", " \n", "one", "aa bb", "a b c d e", "a b", "aa bbbb")
    assert step.reasons(found) == ["empty", "empty", "words", "", "words", "mean_word_length", ""]
    assert texts_of(step(found)) == ["aa bb", "aa bbbb"]


def test_scores_from_statistics_and_functions():
    found = AddScore("length", "characters")(batch("a", "bbb"))
    assert found.column("length").to_pylist() == [1.0, 3.0]
    assert texts_of(RemoveLow("length", 2.0)(found)) == ["bbb"]
    nans = AddScore("q", lambda texts: [math.nan, 1])(batch("a", "b"))
    assert RemoveLow("q", 0.0).reasons(nans) == ["q", ""]


@pytest.mark.parametrize("values", [[1.0], [[1.0, 2.0]], ["a", "b"], None, 3.0])
def test_function_with_other_values_is_named(values: object):
    with pytest.raises(InputError, match="score 'q' gave no 2 numbers for 2 texts"):
        AddScore("q", lambda texts: values)(batch("a", "b"))


def test_functions_are_found_by_name():
    assert load_function("math:sqrt") is math.sqrt
    for word in ("nowhere:f", "math:none", ":x"):
        with pytest.raises(InputError, match="cannot be loaded"):
            load_function(word)
    with pytest.raises(InputError, match="is a float"):
        load_function("math:pi")


def test_steps_travel_to_other_processes():
    items = index_test_items(["t"], ["one two three four five"], 3)
    steps = (Clean(), RemoveUnfit({"words": (1, 9)}), RemoveContaminated(items), AddScore("w", "words"))
    found = batch("one two three", "other words here")
    for step in steps:
        assert pickle.loads(pickle.dumps(step))(found).equals(step(found))
