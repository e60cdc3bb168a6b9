"""Configuration laws on the published sweeps: errors beside the Chinchilla law's, and the folds that chose the default.

    python benchmarks/ncpl.py [--backbones surface,boosted,tiny] [--out benchmarks/results/ncpl.json]

Reads ../shared/data/pretraining-logs. For each source and backbone: fitted to the split "train", scored on "in_val"
(unseen cells of the fitted sizes) and "ood_val" (larger models), beside the paper's Chinchilla constants and our fit.
The default also fitted to "train" and "in_val" together, all runs of the small sizes: it needs no validation rows.
Then the folds inside the training rows, which are what choices were made on: the largest size left out, and for Marin
the longer runs of its larger size.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from thalweg.laws.configuration import (
    OFFICIAL,
    ConfigTable,
    ConfigurationLaw,
    leave_largest_out,
    read_configurations,
    score,
)
from thalweg.stats import spearman

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "pretraining-logs"
SOURCES = {"steplaw": ("steplaw_dense.csv.gz", "smooth_loss"), "marin": ("marin_optimizer_sweep.csv.gz", "c4_en_loss")}
OPTIONS = {"tiny": {"members": 1}}
GOAL = {"ratio": 0.6, "spearman": 0.975}


def fitted(table: ConfigTable, backbone: str) -> tuple[ConfigurationLaw, float]:
    began = time.process_time()
    law = ConfigurationLaw.fit(table, backbone=backbone, seed=0, **OPTIONS.get(backbone, {}))
    return law, time.process_time() - began


def splits(source: str, table: ConfigTable, backbone: str, *, whole: bool = False) -> list[dict]:
    if whole:
        table = replace(table, split=["train" if name == "in_val" else name for name in table.split])
    law, seconds = fitted(table, backbone)
    rows = []
    for split in ("ood_val",) if whole else ("in_val", "ood_val"):
        held = table.part(split)
        chi = OFFICIAL[source].predict(held.numbers["params"], held.numbers["tokens"])
        row = {"source": source, "backbone": backbone, "whole": whole, "split": split}
        row |= asdict(score(law, held)) | {"cpu_seconds": seconds}
        row |= {
            "official_mae": float(np.abs(chi - held.losses).mean()),
            "official_spearman": spearman(chi, held.losses),
        }
        rows.append(row | {"official_ratio": row["mae"] / row["official_mae"]})
    return rows


def folds(source: str, table: ConfigTable, backbone: str) -> list[dict]:
    small, large = leave_largest_out(table)
    pairs = {"largest size": (small, large)}
    if source == "marin":
        train = table.part("train")
        size, tokens = train.numbers["params"], train.numbers["tokens"]
        for name, out in (("300m, 2x on", 1e10), ("300m, 4x on", 1.5e10)):
            far = (size > 2e8) & (tokens > out)
            pairs[name] = (train.rows(~far), train.rows(far))
    return [
        {"source": source, "backbone": backbone, "fold": name} | asdict(score(fitted(part, backbone)[0], held))
        for name, (part, held) in pairs.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", default="surface,boosted,tiny")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "ncpl.json")
    asked = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"{DATA} is absent: the published sweeps are not part of the repository")
    torch.set_num_threads(1)
    tables = {name: read_configurations(DATA / file, target=target) for name, (file, target) in SOURCES.items()}
    result: dict = {"goal": GOAL, "torch": torch.__version__, "splits": [], "folds": []}
    for backbone in asked.backbones.split(","):
        for source, table in tables.items():
            parts = splits(source, table, backbone)
            parts += splits(source, table, backbone, whole=True) if backbone == "surface" else []
            for row in parts:
                result["splits"].append(row)
                name = f"{source} {backbone}{' whole' * row['whole']}"
                print(
                    f"{name} {row['split']}: rank {row['spearman']:.4f} (Chinchilla "
                    f"{row['official_spearman']:.4f}), MAE {row['mae']:.4f} ({row['official_mae']:.4f}; ours "
                    f"{row['baseline_mae']:.4f}), bias {row['bias']:+.4f}, {row['cpu_seconds']:.0f} CPU s",
                    flush=True,
                )
            if backbone != "tiny":
                for row in folds(source, table, backbone):
                    result["folds"].append(row)
                    print(f"{source} {backbone}, {row['fold']} out: MAE {row['mae']:.4f}, ratio {row['ratio']:.2f}")
    asked.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
