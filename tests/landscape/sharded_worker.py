"""One of two processes whose language model lies in shards: measures it and the same model held whole."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from thalweg.landscape import eigenvalue_gradient, hessian, measure, next_token_loss
from thalweg.nn import LanguageModel, ModelConfig

WORDS = ["loss", "lambda_max", "trace"]


def build() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(ModelConfig(vocab_size=11, dim=8, layers=1, heads=2, context=8)).double()


def measured(model, data, **options):
    return {word: float(item.value) for word, item in measure(model, next_token_loss, data, WORDS, **options).items()}


def main(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    ids = torch.randint(11, (4, 7), generator=torch.Generator().manual_seed(1))
    whole, model = build(), build()
    mesh = init_device_mesh("cpu", (2,))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    before = next_token_loss(model, ids)
    before.backward()
    slopes = [p.grad.full_tensor().norm().item() for p in model.parameters()]
    found = {
        "whole": measured(whole, [ids]),
        "sharded": measured(model, [ids]),
        "sharded, shared data": measured(model, [ids[:3] if rank == 0 else ids[3:]], shards=True),
    }
    points = [hessian(each, next_token_loss, [ids]).point for each in (whole, model)]
    found["slope"] = [float(eigenvalue_gradient(each).gradient.norm()) for each in points]
    found["notes"] = points[1].findings.notes
    for p in model.parameters():
        p.grad = None
    after = next_token_loss(model, ids)  # FSDP works as before
    after.backward()
    found["same"] = bool(before == after) and slopes == [p.grad.full_tensor().norm().item() for p in model.parameters()]
    (folder / f"rank{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
