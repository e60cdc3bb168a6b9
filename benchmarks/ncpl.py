"""Configuration laws on the published sweeps: errors beside the Chinchilla law's, and the folds that chose the default.

    python benchmarks/ncpl.py [--backbones surface,boosted,tiny] [--out benchmarks/results/ncpl.json]

Reads ../shared/data/pretraining-logs. For each source and backbone: fitted to the split "train", scored on "in_val"
(unseen cells of the fitted sizes) and "ood_val" (larger models), beside the paper's Chinchilla constants and our fit.
The default also fitted to "train" and "in_val" together, all runs of the small sizes: it needs no validation rows.
Then the folds inside the training rows, which are what choices were made on (docs/cards/laws.md): largest sizes,
longest runs, most compute, some optimizers' larger models. The share inside the 90 % interval there tests the
calibration, whose refits see nothing of what the fold leaves out.
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
    train = table.part("train")
    size, tokens = train.numbers["params"], train.numbers["tokens"]
    large = size == size.max()
    if source == "marin":
        far = {"300m": large, "300m, 2x on": large & (tokens > 1e10), "300m, 4x on": large & (tokens > 1.5e10)}
        far["1.5e19 FLOPs on"] = train.flops > 1.5e19
        words = np.array(train.texts["optimizer"])
        names = np.unique(words[large])
        far |= {f"300m of {', '.join(names[k::3])}": large & np.isin(words, names[k::3]) for k in range(3)}
    else:
        far = {"429m": large, "429m, 10B on": large & (tokens > 1e10), "9e19 FLOPs on": train.flops > 9e19}
    return [
        {"source": source, "backbone": backbone, "fold": name}
        | asdict(score(fitted(train.rows(~out), backbone)[0], train.rows(out)))
        for name, out in far.items()
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
                    f"{row['baseline_mae']:.4f}), bias {row['bias']:+.4f}, regret {row['regret']:.4f}, "
                    f"inside {row['coverage']:.3f}, {row['cpu_seconds']:.0f} CPU s",
                    flush=True,
                )
            if backbone != "tiny":
                for row in folds(source, table, backbone):
                    result["folds"].append(row)
                    print(
                        f"{source} {backbone}, {row['fold']} out: rank {row['spearman']:.4f}, MAE {row['mae']:.4f}, "
                        f"ratio {row['ratio']:.2f}, bias {row['bias']:+.4f}, inside {row['coverage']:.3f}",
                        flush=True,
                    )
    asked.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
