from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from thalweg.errors import InputError
from thalweg.nn import Sampling
from thalweg.nn.decode import keep_likely, sample
from thalweg.nn.model import LanguageModel

from .conftest import tokens

Build = Callable[..., LanguageModel]


@torch.no_grad()
@pytest.mark.parametrize("sampling", [Sampling(temperature=0.0), Sampling(0.8, top_k=5), Sampling(1.2, top_p=0.7)])
def test_the_cache_changes_nothing_and_the_seed_decides(build: Build, sampling: Sampling) -> None:
    model, ids = build(), tokens(3, 5)

    def seeded() -> torch.Generator:
        return torch.Generator().manual_seed(11)

    got = model.generate(ids, 10, sampling=sampling, generator=seeded())
    slow, generator = ids, seeded()
    for _ in range(10):
        slow = torch.cat((slow, sample(model(slow).logits[:, -1], sampling, generator)[:, None]), dim=1)
    assert torch.equal(got, slow)
    assert torch.equal(got, model.generate(ids, 10, sampling=sampling, generator=seeded()))
    if sampling.temperature:
        assert not torch.equal(
            got, model.generate(ids, 10, sampling=sampling, generator=torch.Generator().manual_seed(1))
        )


def test_padded_rows_continue_as_they_would_alone(build: Build) -> None:
    model, ids = build(), tokens(2, 6)
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    got = model.generate(ids, 8, attention_mask=mask)
    assert torch.equal(got[:1, 4:], model.generate(ids[:1, 4:], 8))
    assert torch.equal(got[1:], model.generate(ids[1:], 8))


def test_rows_stop_at_eos(build: Build) -> None:
    model, ids = build(), tokens(3, 5)
    free = model.generate(ids, 12)[:, 5:]
    eos = int(free[0, 3])
    stopped = model.generate(ids, 12, eos=eos)[:, 5:]
    for row, whole in zip(stopped, free, strict=True):
        hits = (whole == eos).nonzero().flatten().tolist()
        first = hits[0] if hits else 12
        assert torch.equal(row[:first], whole[: min(first, len(row))])
        assert bool((row[first:] == eos).all())
    only = model.generate(ids[:1], 12, eos=eos)
    assert only.shape[1] == 5 + 1 + int((free[0] == eos).nonzero()[0])


def test_cuts_keep_the_right_tokens() -> None:
    logits = torch.tensor([[0.1, 0.4, 0.3, 0.2], [0.97, 0.01, 0.01, 0.01]]).log()
    assert keep_likely(logits, top_k=2).isfinite().tolist() == [[False, True, True, False], [True] * 4]
    assert keep_likely(logits, top_p=0.6).isfinite().tolist() == [
        [False, True, True, False],
        [True, False, False, False],
    ]
    assert keep_likely(logits, top_p=0.71).isfinite().tolist()[0] == [False, True, True, True]


def test_draws_have_the_stated_probabilities() -> None:
    """20 000 draws: 0.015 is more than four standard errors of each share."""
    logits = torch.tensor([0.1, 0.4, 0.3, 0.2]).log().expand(20_000, 4)
    drawn = sample(logits, Sampling(temperature=0.5), torch.Generator().manual_seed(0))
    share = torch.bincount(drawn, minlength=4) / 20_000
    wanted = torch.tensor([0.01, 0.16, 0.09, 0.04]) / 0.30
    torch.testing.assert_close(share, wanted, rtol=0, atol=0.015)


def test_bad_arguments_are_one_sentence(build: Build) -> None:
    model, ids = build(), tokens(2, 5)
    for values in ({"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"temperature": float("nan")}):
        with pytest.raises(InputError, match=next(iter(values))):
            Sampling(**values)
    with pytest.raises(InputError, match="max_new_tokens=-1"):
        model.generate(ids, -1)
    with pytest.raises(InputError, match="positions exceed context=32"):
        model.generate(ids, 40)
    with pytest.raises(InputError, match="pad rows on the left"):
        model.generate(ids, 2, attention_mask=torch.tensor([[1, 1, 1, 1, 0], [1] * 5]))
