"""Plans from a budget: closed forms, published numbers, brute force over a grid."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.laws import ChinchillaSize, ReuseLaw, SizeTable
from thalweg.laws.budget import RATE_LAWS, SIZE_LAWS, Budget, Constraints, Data, OwnLaws, SizeLaw, plan_run, read_law
from thalweg.laws.budget.own import fit_sizes
from thalweg.laws.budget.plan import round_batch
from thalweg.laws.budget.published import STRAYING
from thalweg.laws.budget.rates import fit_rates
from thalweg.laws.budget.search import best_sizes, split
from thalweg.laws.budget.sizes import loss_at
from thalweg.schedules import parse

GOPHER = 5.76e23
REFIT, ORIGINAL = SIZE_LAWS["besiroglu"], SIZE_LAWS["hoffmann"]


@pytest.mark.parametrize("flops", [1e15, 3e19, GOPHER])
@pytest.mark.parametrize("law", [REFIT, ORIGINAL], ids=lambda law: law.name)
def test_the_best_size_is_the_closed_form_and_the_least_on_a_grid(law, flops):
    chosen = split(law, flops, Data(), Constraints())
    size, tokens = law.law.best_split(flops)
    assert chosen.params == pytest.approx(size, rel=1e-12)
    assert 6 * chosen.params * chosen.tokens == pytest.approx(flops, rel=1e-12)
    grid = size * np.geomspace(0.1, 10, 20001)
    assert grid[law.law.predict(grid, flops / 6 / grid).argmin()] == pytest.approx(size, rel=1e-3)
    assert law.law.predict(size, tokens) <= law.law.predict(grid, flops / 6 / grid).min()


def test_published_numbers():
    """40B at Gopher's budget by approach 3 (arXiv 2203.15556, figure 4); about 20 tokens a parameter by the refit."""
    assert float(f"{split(ORIGINAL, GOPHER, Data(), Constraints()).params:.2g}") == 40e9
    chosen = split(REFIT, GOPHER, Data(), Constraints())
    assert chosen.low < 70e9 < chosen.high
    assert chosen.tokens / chosen.params == pytest.approx(20, rel=0.15)
    law = REFIT.law
    assert law.beta / (law.alpha + law.beta) == pytest.approx(0.513, abs=5e-4)  # arXiv 2404.10102
    rate, batch = RATE_LAWS["step-law"].learning_rate, RATE_LAWS["step-law"].batch
    size, tokens = 1e9, 1e11
    assert rate.at(size, tokens).value == pytest.approx(1.79 * size**-0.713 * tokens**0.307, rel=0.02)
    assert batch.at(size, tokens).value == pytest.approx(0.58 * tokens**0.571, rel=0.02)


def test_standard_errors_of_the_draws_are_the_published_ones():
    draws = REFIT.draws()
    assert draws[0, 3:].tolist() == [REFIT.law.alpha, REFIT.law.beta]
    found = np.concatenate([np.exp(draws[:, :3]).std(0), draws[:, 3:].std(0)])
    published = np.array([124.5, 1293.3, 0.0257, 0.0154, 0.0206])  # arXiv 2404.10102 (A, B, E, alpha, beta)
    assert (np.abs(np.log(found / published)) < math.log(1.3)).all()


@pytest.mark.parametrize("unique", [1e7, 1e9, 1e11])
def test_with_repetition_the_search_finds_the_least_of_a_grid(unique):
    data, flops = Data(unique), 1e21
    size = float(best_sizes(replace(REFIT, covariance=None), flops, data)[0])
    grid = np.geomspace(1e8, 1e15, 400001)
    law = ReuseLaw()
    tokens = flops / 6 / grid
    fresh = [law.effective_tokens(unique, d / unique) if d > unique else d for d in tokens[::400]]
    assert data.fresh(tokens[::400]) == pytest.approx(fresh)
    loss = REFIT.law.predict(grid, data.fresh(tokens))
    assert loss.min() == pytest.approx(REFIT.law.predict(size, data.fresh(np.array(flops / 6 / size))), abs=1e-9)
    assert size == pytest.approx(grid[loss.argmin()], rel=2e-3)


def test_draws_with_repetition_agree_with_one_law_at_a_time():
    data, draws = Data(2e9), REFIT.draws()[:4]
    whole = best_sizes(REFIT, 1e20, data, draws)
    single = [float(best_sizes(REFIT, 1e20, data, draw[None])[0]) for draw in draws]
    assert whole == pytest.approx(single, rel=1e-5)


def test_budget_hours_and_price_go_both_ways():
    budget = Budget.of(gpu_hours=100, device="h100", mfu=0.4, price=2.5)
    assert budget.flops == pytest.approx(100 * 3600 * 989e12 * 0.4)
    assert budget.hours(budget.flops) == pytest.approx(100)
    assert budget.cost(budget.flops) == pytest.approx(250)
    assert Budget.of(flops=1e20).hours(1e20) is None


def test_a_plan_is_consistent():
    plan = plan_run(Budget.of(flops=1e20, device="a100", price=1.0), unique=2e9, context=1024)
    assert plan.tokens == plan.steps * plan.batch * plan.context
    assert plan.flops == pytest.approx(6 * plan.params * plan.tokens)
    assert 0.99 <= plan.flops / 1e20 <= 1
    assert plan.epochs == pytest.approx(plan.tokens / 2e9)
    assert plan.unique < plan.fresh < plan.tokens
    assert plan.loss.value == pytest.approx(REFIT.law.predict(plan.params, plan.fresh))
    assert plan.loss.low < plan.loss.value < plan.loss.high
    rates = parse(plan.schedule).rates(plan.steps)
    assert rates.max() == pytest.approx(plan.learning_rate.value, rel=5e-3)
    assert rates[-1] == pytest.approx(1e-5, rel=0.01)
    assert plan.memory == 16 * plan.params
    by = {(row.choice, row.setting.split(":")[0]): row for row in plan.trade_offs}
    half = by["model size", "\N{DIVISION SIGN} 2"]
    other = REFIT.law.predict(plan.params / 2, Data(2e9).fresh(np.array(2 * plan.tokens)))
    assert half.loss == pytest.approx(other - plan.loss.value)
    assert half.low < half.loss < half.high
    assert by["batch", "\N{MULTIPLICATION SIGN} 2"].loss == dict((r[0], r[1]) for r in STRAYING["batch"])[2.0]
    assert all(row.loss >= 0 for row in plan.trade_offs if row.choice == "model size")


def test_constraints():
    free = plan_run(Budget.of(flops=1e20))
    assert plan_run(Budget.of(flops=1e20), Constraints(params=1e9)).params == 1e9
    fixed = plan_run(Budget.of(flops=1e20), Constraints(tokens=5e9))
    assert fixed.params == pytest.approx(1e20 / 6 / 5e9)
    capped = plan_run(Budget.of(flops=1e20), Constraints(tokens_at_most=5e9))
    assert capped.params == pytest.approx(fixed.params)
    loose = plan_run(Budget.of(flops=1e20), Constraints(tokens_at_most=5e12))
    assert loose.params == free.params
    small = plan_run(Budget.of(flops=1e20), Constraints(overtrain=4))
    assert small.params == pytest.approx(free.params / 2)
    assert small.tokens / small.params == pytest.approx(4 * free.tokens / free.params, rel=0.01)
    both = plan_run(Budget.of(), Constraints(params=1e9, tokens=2e10))
    assert both.flops == pytest.approx(1.2e20, rel=1e-3)
    epochs = plan_run(Budget.of(flops=1e20), Constraints(epochs_at_most=2), unique=2e9)
    assert epochs.epochs <= 2
    unspent = plan_run(Budget.of(flops=1e20), Constraints(params=1e8, epochs_at_most=2), unique=2e9)
    assert any("only" in said for said in unspent.warnings)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Budget.of(flops=1e20, gpu_hours=3), "as FLOPs and as GPU hours"),
        (lambda: Budget.of(gpu_hours=3), "name one of a100"),
        (lambda: Budget.of(gpu_hours=3, device="h1000"), "did you mean 'h100'"),
        (lambda: Budget.of(flops=math.inf), "give a number > 0"),
        (lambda: Budget.of(flops=1.0, mfu=1.5), "mfu is 1.5"),
        (lambda: Constraints(params=0), "params is 0"),
        (lambda: Constraints(params=1e9, overtrain=2), "leave one out"),
        (lambda: Data(0.0), "unique tokens are 0"),
        (lambda: plan_run(Budget.of()), "there is no budget"),
        (lambda: plan_run(Budget.of(flops=1e20), Constraints(params=1e9, tokens=1e9)), "leave one out"),
        (lambda: plan_run(Budget.of(flops=1e20), Constraints(epochs_at_most=2)), "unique tokens"),
        (lambda: plan_run(Budget.of(flops=1e20), sizes="kaplan"), "besiroglu, hoffmann"),
        (lambda: plan_run(Budget.of(flops=1e20), shape="designed"), "fitted curve law"),
        (lambda: plan_run(Budget.of(flops=1e20), context=0), "context is 0"),
    ],
)
def test_refusals(make, said):
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        make()


def test_tiny_and_huge_budgets_still_plan():
    for flops in (1e3, 1e9, 1e30):
        plan = plan_run(Budget.of(flops=flops))
        assert plan.steps >= 1
        assert math.isfinite(plan.loss.value)
        assert plan.warnings
        assert parse(plan.schedule).rates(min(plan.steps, 100_000)).max() > 0


@pytest.mark.parametrize(("wanted", "found"), [(0.2, 1), (1.1, 1), (5.2, 6), (181, 192), (700, 768), (540, 512)])
def test_batches_are_round(wanted, found):
    assert round_batch(wanted) == found


def test_an_own_law_replaces_the_published_one():
    law = ChinchillaSize(1.5, 300.0, 0.33, 900.0, 0.3)
    plan = plan_run(Budget.of(flops=1e20), own=read_law(law.to_json(), "law.json"))
    assert plan.params == pytest.approx(law.best_split(1e20)[0])
    assert not plan.loss.known
    assert any("interval" in said for said in plan.missing)
    reuse = ReuseLaw("log", 1.0, 0.5, 1e8, 1e10, 0.02)
    again = read_law(reuse.to_json(), "reuse.json")
    assert again.reuse == reuse
    assert ReuseLaw.from_json(ReuseLaw().to_json()).largest == math.inf
    plan = plan_run(Budget.of(flops=1e20), own=again, unique=1e9)
    assert plan.fresh == pytest.approx(reuse.effective_tokens(1e9, plan.epochs))


def test_runs_give_a_law_with_range_and_interval():
    rng = np.random.default_rng(3)
    sizes, tokens = np.meshgrid([5e7, 2e8, 8e8], [1e9, 4e9, 1.6e10])
    truth = ChinchillaSize(1.8, 400.0, 0.34, 1500.0, 0.35)
    losses = truth.predict(sizes, tokens) * np.exp(1e-4 * rng.standard_normal(sizes.shape))
    law = fit_sizes(SizeTable(sizes.ravel(), tokens.ravel(), losses.ravel()), "runs.csv")
    assert law.sizes == (5e7, 8e8)
    size = truth.best_split(1e19)[0]
    chosen = split(law, 1e19, Data(), Constraints())
    assert chosen.params == pytest.approx(size, rel=0.1)
    assert chosen.low < size < chosen.high
    plan = plan_run(Budget.of(flops=1e19), own=OwnLaws(sizes=law))
    assert plan.loss.low < truth.predict(plan.params, plan.tokens) < plan.loss.high


def test_own_best_values_give_rates():
    sizes, tokens = [1e8, 1e8, 4e8, 4e8, 1e9], [2e9, 8e9, 8e9, 3e10, 3e10]
    rates = [3.0 * n**-0.5 * d**0.2 for n, d in zip(sizes, tokens, strict=True)]
    batches = [0.1 * d**0.6 for d in tokens]
    law = fit_rates(sizes, tokens, rates, batches, source="best.csv")
    assert law.learning_rate.at(5e9, 1e11).value == pytest.approx(3.0 * 5e9**-0.5 * 1e11**0.2)
    assert law.batch.at(5e9, 1e11).value == pytest.approx(0.1 * 1e11**0.6)
    plan = plan_run(Budget.of(flops=1e20), own=OwnLaws(rates=law))
    assert plan.learning_rate.value == pytest.approx(law.learning_rate.at(plan.params, plan.tokens).value, rel=1e-2)
    alone = fit_rates(sizes, tokens, rates, None, source="best.csv")
    bare = plan_run(Budget.of(flops=1e20), own=OwnLaws(rates=alone))
    assert bare.batch is None
    assert bare.schedule is None
    assert any("no column batch" in said for said in bare.missing)


def test_losses_of_draws_are_the_form():
    law = SizeLaw("a", ChinchillaSize(1.0, 2.0, 0.3, 3.0, 0.4), "b")
    assert loss_at(law.draws(), np.array([10.0]), np.array([20.0]))[0, 0] == pytest.approx(law.law.predict(10, 20))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "no law"),
        ('{"law": 3}', "no law"),
        ('{"law": "mixtures"}', "cannot use"),
        ('{"law": "chinchilla-size", "format": 1, "params": {"E": 1}}', "no chinchilla-size law"),
        (ChinchillaSize(1.0, 0.0, 0.3, 2.0, 0.3).to_json(), "no best size"),
        ('{"law": "reuse", "format": 1, "params": {"form": "cubic"}}', "no law of data reuse"),
        ('{"law": "configuration"}', "no saved configuration law"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_files_that_are_no_law(text, said):
    with pytest.raises(InputError, match=said):
        read_law(text, "law.json")


def test_two_laws_of_a_kind_are_refused():
    one = OwnLaws(reuse=ReuseLaw())
    with pytest.raises(InputError, match="two laws of the kind 'reuse'"):
        one.joined(one)
    assert one.joined(OwnLaws(sizes=REFIT)).sizes is REFIT
