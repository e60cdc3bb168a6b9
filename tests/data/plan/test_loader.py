"""Reading a plan in torch: any number of ranks and workers, killed and resumed, gives the same windows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from planned_data import in_memory
from thalweg.data.plan import (
    Order,
    Phase,
    Plan,
    PlanLoader,
    PlanSampler,
    PlanStream,
    Source,
    TokenDataset,
    read_rows,
    state_of,
)
from thalweg.errors import InputError

SOURCES = {"a": Source("a", score="quality"), "b": Source("b")}


def order_of(**changes) -> Order:
    rng = np.random.default_rng(0)
    sources = {
        "a": in_memory(rng.integers(1, 30, 60).tolist(), name="a", quality=rng.normal(size=60)),
        "b": in_memory(rng.integers(1, 30, 9).tolist(), name="b", offset=10**5),
    }
    phases = (Phase(weights={"a": 0.8, "b": 0.2}, tokens=6 * 96), Phase())
    plan = Plan(**{"sources": SOURCES, "phases": phases, "context": 6, "block": 16, **changes})
    return Order(plan, sources)


def all_of(order: Order, batch: int = 8) -> list[list[list[int]]]:
    steps = range(len(order) // batch)
    return [read_rows(order, np.arange(step * batch, (step + 1) * batch)).ids.tolist() for step in steps]


def ids(batches) -> list[list[list[int]]]:
    return [batch["input_ids"].tolist() for batch in batches]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_the_plan(workers: int):
    order = order_of()
    wanted = all_of(order)
    assert ids(PlanLoader(order, batch=8, workers=workers)) == wanted
    sampled = DataLoader(TokenDataset(order), batch_sampler=PlanSampler(order, 8), num_workers=workers)
    assert ids(sampled) == wanted
    stream = PlanStream(order, batch=8)
    assert ids(DataLoader(stream, batch_size=stream.rows, num_workers=workers)) == wanted


@pytest.mark.parametrize("then", [0, 2])
def test_resume_on_four_ranks_of_what_one_began(then: int):
    """Killed after five batches while workers have read ahead; the state goes through JSON."""
    order, wanted = order_of(), all_of(order_of())
    first = PlanLoader(order, batch=8, workers=2)
    assert ids(islice(first, 5)) == wanted[:5]
    state = json.loads(json.dumps(first.state_dict()))
    assert state["sample"] == 40
    ranks = [PlanLoader(order_of(), batch=8, rank=rank, world=4, workers=then) for rank in range(4)]
    for loader in ranks:
        loader.load_state_dict(state)
    joined = [list(chain(*parts)) for parts in zip(*(ids(loader) for loader in ranks), strict=True)]
    assert joined == wanted[5:]


KILLED = """
import json, multiprocessing, os, sys
from planned_data import in_memory
from thalweg.data.plan import Order, Plan, PlanLoader
plan = Plan.from_dict(json.loads(sys.argv[1]))
loader = PlanLoader(Order(plan, {"a": in_memory([10] * 400)}), batch=8, workers=2)
try:
    for count, batch in enumerate(loader, 1):
        print(json.dumps([batch["sample"].tolist(), loader.state_dict()]), flush=True)
        if count == 3:
            for child in multiprocessing.active_children():
                child.kill()
finally:  # torch raises, perhaps once more while the first error is handled
    os._exit(3)
"""


def test_a_worker_that_is_killed_loses_and_repeats_nothing():
    """In a process of its own: torch raises at any moment once a worker is gone."""
    plan = Plan(sources={"a": Source("a")}, phases=(Phase(),), context=5)
    command = [sys.executable, "-c", KILLED, json.dumps(plan.to_dict())]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 3
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert 3 <= len(lines) < 100
    again = PlanLoader(Order(plan, {"a": in_memory([10] * 400)}), batch=8)
    again.load_state_dict(lines[-1][1])
    samples = [batch["sample"].tolist() for batch in again]
    assert list(chain(*(line[0] for line in lines), *samples)) == list(range(800))


def test_the_state_is_that_of_the_last_consumed_batch():
    loader = PlanLoader(order_of(), batch=8, workers=2)
    for count, _ in enumerate(islice(loader, 4), 1):
        assert loader.state_dict()["sample"] == 8 * count


def test_a_loader_goes_on_where_it_was_left():
    loader, wanted = PlanLoader(order_of(), batch=8), all_of(order_of())
    assert ids(islice(loader, 3)) + ids(loader) == wanted


def test_a_stream_within_one_process_resumes():
    stream, wanted = PlanStream(order_of(), batch=8), all_of(order_of())
    taken = [item["input_ids"].tolist() for item in islice(stream, 20)]  # two and a half batches
    assert taken == list(chain(*wanted))[:20]
    again = PlanStream(order_of(), batch=8)
    again.load_state_dict(stream.state_dict())
    assert next(iter(again))["sample"] == 16  # the batch that was not finished comes again as a whole


def test_a_worker_resumes_from_its_own_state(monkeypatch):
    """As torchdata's StatefulDataLoader does it: each worker keeps and reloads the state of its copy."""
    info = type("Info", (), {"id": 1, "num_workers": 3})()
    monkeypatch.setattr("thalweg.data.plan.loader.get_worker_info", lambda: info)
    order = order_of()
    whole = [int(item["sample"]) for item in PlanStream(order, batch=8)]
    assert whole[:24:8] == [8, 32, 56]
    first = PlanStream(order, batch=8)
    taken = [int(item["sample"]) for item in islice(first, 16)]
    again = PlanStream(order, batch=8)
    again.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert taken + [int(item["sample"]) for item in again] == whole
    info.num_workers = 2
    again.load_state_dict(first.state_dict())
    with pytest.raises(InputError, match="keep num_workers"):
        next(iter(again))


def test_a_last_batch_that_is_not_full_is_left_out():
    order = order_of()
    assert len(order) % 9
    assert len(PlanSampler(order, 9)) == len(list(PlanSampler(order, 9))) == len(order) // 9
    assert len(ids(PlanLoader(order, batch=9))) == len(order) // 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"phases": (Phase(weights={"a": 0.7, "b": 0.3}, tokens=6 * 96), Phase())}, r"phases\[0\].weights.a was 0.8"),
        ({"sources": SOURCES | {"b": Source("b", score="")}, "doc_mask": True}, "doc_mask was False and is True"),
    ],
)
def test_another_plan_is_refused_and_named(change: dict, message: str):
    state = state_of(order_of(), 40)
    loader = PlanLoader(order_of(**change), batch=8)
    with pytest.raises(InputError, match=message):
        loader.load_state_dict(state)
    loader.load_state_dict(state, override=True)
    assert loader.sample == 40


def test_changed_files_are_refused():
    order = order_of()
    object.__setattr__(order.sources["b"], "fingerprint", "other")
    with pytest.raises(InputError, match="a file of its sources has changed"):
        PlanLoader(order, batch=8).load_state_dict(state_of(order_of(), 8))


def test_windows_may_be_skipped_ahead_but_not_behind():
    state = state_of(order_of(), 16)
    loader = PlanLoader(order_of(skip=(16, 20)), batch=8)
    loader.load_state_dict(state)
    samples = read_rows(order_of(), np.array([17, 18, 19, 21, 22, 23, 24, 25])).ids.tolist()
    assert next(iter(loader))["input_ids"].tolist() == samples
    with pytest.raises(InputError, match="skip only what lies ahead"):
        PlanLoader(order_of(skip=(3,)), batch=8).load_state_dict(state)
    again = PlanLoader(order_of(skip=(16, 20, 99)), batch=8)
    again.load_state_dict(loader.state_dict())
    with pytest.raises(InputError, match="skip only what lies ahead"):
        PlanLoader(order_of(), batch=8).load_state_dict(loader.state_dict())


@pytest.mark.parametrize("arguments", [{"batch": 8, "world": 3}, {"batch": 8, "rank": 2, "world": 2}, {"batch": 0}])
def test_ranks_that_do_not_fit_are_refused(arguments: dict):
    for make in (PlanLoader, PlanStream, PlanSampler):
        with pytest.raises(InputError):
            make(order_of(), **arguments)


def test_foreign_states_are_refused():
    with pytest.raises(InputError, match="was not made by a plan"):
        PlanLoader(order_of(), batch=8).load_state_dict({"step": 3})


@pytest.mark.slow
def test_the_trainer_of_transformers_reads_it(tmp_path):
    transformers = pytest.importorskip("transformers")
    order = order_of(packing="pack", doc_mask=True)
    seen = []

    class Tiny(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, input_ids, labels=None, position_ids=None):
            seen.append(input_ids.tolist())
            return {"loss": self.weight * 0 + self.weight}

    for start, steps in ((0, 3), (24, 2)):
        arguments = transformers.TrainingArguments(
            str(tmp_path), per_device_train_batch_size=8, max_steps=steps, report_to=[], use_cpu=True,
            save_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        transformers.Trainer(Tiny(), arguments, train_dataset=PlanStream(order, batch=8, start=start)).train()
    assert seen == all_of(order)[:5]
