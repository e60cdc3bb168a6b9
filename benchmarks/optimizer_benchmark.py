"""The published optimizer benchmark, ours beside the paper's: speed-ups, sensitivity lists, scaling, curves.

Claims: every speed-up of the tables to their four digits, the fitted curves to the stated ones, the sensitivity lists
of the official rule, the hyperparameters used at 1.2B. Reads ../shared/data/optimizer-benchmark (arXiv 2509.02046),
needs no training; writes benchmarks/results/optimizer-benchmark.json.

    python benchmarks/optimizer_benchmark.py [--tables DIR]
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from time import process_time
from typing import Any

from thalweg.files import write_atomic
from thalweg.laws.final_losses import fit_final_losses
from thalweg.laws.hyper_scaling import fit_hyper_scaling, nearest_on_grid
from thalweg.laws.optimizer_benchmark import SIZES, BenchmarkTables, load_optimizer_benchmark
from thalweg.laws.sensitivity import sensitive_hyperparameters
from thalweg.laws.token_speedup import token_speedups

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "optimizer-benchmark"
CURVES = {  # a, B, b and worst residual, of the specification
    "130m": (0.4554, 0.4353, 3.0729, 0.0034),
    "300m": (0.3707, 0.4378, 2.8916, 0.0017),
    "520m": (0.3417, 0.3973, 2.7627, 0.0012),
    "1.2b": (0.2394, 0.4848, 2.6649, 3e-5),
}
SENSITIVE = {  # output of the official code with its regime list mended
    "adamw": {
        "learning_rate": (0.004, 0.008),
        "train_batch_size": (128, 256),
        "warmup": (1000, 2000),
        "weight_decay": (0.1, 0.3),
    },
    "nadamw": {"warmup": (2000, 4000)},
    "lion": {"beta2": (0.95, 0.98)},
    "mini": {"learning_rate": (0.004, 0.008), "warmup": (2000, 4000), "weight_decay": (0.1, 0.2)},
    "cautious": {"train_batch_size": (128, 256)},
    "mars": {"beta1": (0.9, 0.95, 0.98), "warmup": (1000, 2000)},
    "scion": {"learning_rate": (0.008, 0.016)},
    "muon": {"learning_rate": (0.008, 0.016)},
    "soape": {"block_size": (256, 512), "learning_rate": (0.008, 0.016), "precondition_frequency": (1, 10)},
    "kron": {"learning_rate": (0.001, 0.002)},
}
SCALING = {  # AdamW at 1.2B, 1x and 8x, as the paper's fit has it, and what was used
    "learning_rate": (2.9e-3, 3.1e-3, 0.002),
    "weight_decay": (0.19, 0.154, 0.2),
    "warmup": (1045, 761, 1000),
    "train_batch_size": (263, 323, 256),
}


def curves(tables: BenchmarkTables) -> dict[str, Any]:
    found = {}
    print("AdamW curves a c^-B + b (a, B, b, worst residual)")
    for size, listed in CURVES.items():
        base = tables.losses("adamw", size)
        fit = fit_final_losses(list(base), list(base.values()))
        ours = (fit.a, fit.power, fit.floor, fit.worst)
        print(f"  {size}: ours {' '.join(f'{v:.4g}' for v in ours)}; stated {' '.join(f'{v:g}' for v in listed)}")
        found[size] = {"ours": ours, "stated": listed}
    return found


def speedups(tables: BenchmarkTables, folder: Path) -> dict[str, Any]:
    with (folder / "speedups.csv").open() as file:
        listed = {
            (row["optimizer"], row["model_size"], float(row["chinchilla"])): float(row["speedup"])
            for row in csv.DictReader(file)
            if row["speedup"]
        }
    found, worst = {}, 0.0
    print("speed-ups over AdamW with 90 % intervals (ours; table)")
    for name in tables.optimizers:
        for size in SIZES:
            if not (other := tables.losses(name, size)):
                continue
            for speed in token_speedups(tables.losses("adamw", size), other):
                key = name, size, speed.budget
                if key not in listed:
                    continue
                worst = max(worst, abs(speed.value - listed[key]))
                found["/".join(map(str, key))] = [speed.value, speed.low, speed.high, listed[key]]
                if name in ("muon", "soape", "nadamw"):
                    shown = f"{speed.value:.4f} ({speed.low:.2f} to {speed.high:.2f})"
                    print(f"  {name} {size} {speed.budget:g}x: {shown}; {listed[key]:.4f}")
    print(f"  {len(found)} speed-ups, largest difference from the table {worst:.1e}")
    return {"speedups": found, "largest_difference": worst}


def sensitivity(tables: BenchmarkTables) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    print("scale-sensitive hyperparameters")
    for name, listed in SENSITIVE.items():
        ours = sensitive_hyperparameters(tables.phase_one(name))
        sets = {key: (kept, *ours.alternatives.get(key, ())) for key, kept in ours.sensitive.items()}
        same = sets.keys() == listed.keys() and all(values in sets[key] for key, values in listed.items())
        tied = {key: values for key, values in listed.items() if values != ours.sensitive.get(key)} if same else {}
        said = f"as the official code{f', whose {tied} is as good' if tied else ''}" if same else f"official {listed}"
        print(f"  {name}: {ours.sensitive}; {said}")
        found[name] = {"ours": ours.sensitive, "as good": ours.alternatives, "official": listed, "same": same}
    print(f"  {sum(entry['same'] for entry in found.values())} of {len(found)} lists as the official code's")
    return found


def scaling(tables: BenchmarkTables) -> dict[str, Any]:
    cells = {k: c for k, c in tables.best.items() if k[0] == "adamw" and k[1] != "1.2b" and k[2] <= 8}
    sizes, ratios = [c.params for c in cells.values()], [float(k[2]) for k in cells]
    found = {}
    print("AdamW at 1.2B predicted from twelve smaller cells (1x, 8x, on the grid at 1x)")
    for name, (one, eight, used) in SCALING.items():
        values = [c.values[name] for c in cells.values()]
        grid = tables.grids["adamw", "1.2b", 1][name][1]
        for form in ("log", "power", "offset"):
            rule = fit_hyper_scaling(sizes, ratios, values, form)  # type: ignore[arg-type]
            ours = [rule.predict(SIZES["1.2b"], ratio) for ratio in (1, 8)]
            near = nearest_on_grid(ours[0], grid)
            print(f"  {name}, {form}: {ours[0]:.4g}, {ours[1]:.4g}, {near:g}; paper {one:g}, {eight:g}, used {used:g}")
            found[f"{name}/{form}"] = {"ours": ours, "grid": near, "paper": (one, eight), "used": used}
    return found


def main() -> None:
    """Prints ours beside the paper's and writes both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, default=DATA)
    folder = parser.parse_args().tables
    began = process_time()
    tables = load_optimizer_benchmark(folder)
    result: dict[str, Any] = {"curves": curves(tables), **speedups(tables, folder)}
    result |= {"sensitivity": sensitivity(tables), "scaling": scaling(tables), "cpu_seconds": process_time() - began}
    print(f"{result['cpu_seconds']:.1f} CPU s")
    path = Path(__file__).parent / "results" / "optimizer-benchmark.json"
    write_atomic(path, json.dumps(result, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
