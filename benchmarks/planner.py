"""The constants of the planner's published laws, computed from what their authors published.

    python benchmarks/planner.py --chinchilla svg_extracted_data.csv --steplaw STEPLAW

``--chinchilla`` is the file of epoch-research/analyzing-chinchilla (data/, at 92258837), ``--steplaw`` a checkout of
step-law/steplaw at 32a8f4cc. Prints the refit and its bootstrap covariance (arXiv 2404.10102 prints standard errors
only), mean and covariance of Step Law's 1,000 bootstrap fits, and what straying from the best learning rate and batch
of each published sweep costs.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

DELTA = 1e-3  # of Huber's loss, arXiv 2203.15556
DRAWS = 1000
FACTORS = (0.25, 0.5, 2.0, 4.0)


def refit(path: Path) -> None:
    """The five parameters, their covariance over bootstrap samples of the runs, and the runs' scatter."""
    rows = list(csv.DictReader(path.open()))
    table = np.array([[float(row[k]) for k in ("Model Size", "Training FLOP", "loss")] for row in rows])
    table = table[table[:, 2] < np.sort(table[:, 2])[-5]]  # as arXiv 2404.10102: without the five largest losses
    log_n, log_d, log_l = np.log(table[:, 0]), np.log(table[:, 1] / 6 / table[:, 0]), np.log(table[:, 2])
    middle = log_n.mean(), log_d.mean()

    def objective(u: np.ndarray, rows: np.ndarray) -> tuple[float, np.ndarray]:
        a, b, e, alpha, beta = u
        n, d = log_n[rows] - middle[0], log_d[rows] - middle[1]
        parts = np.exp(np.stack([a - alpha * n, b - beta * d, np.full_like(n, e)]))
        miss = np.log(parts.sum(0)) - log_l[rows]
        share = parts / parts.sum(0)
        slope = np.clip(miss, -DELTA, DELTA)
        loss = np.where(np.abs(miss) <= DELTA, miss**2 / 2, DELTA * (np.abs(miss) - DELTA / 2)).sum()
        by = [slope @ share[0], slope @ share[1], slope @ share[2], -slope @ (share[0] * n), -slope @ (share[1] * d)]
        return 1e3 * float(loss), 1e3 * np.array(by)

    def fit(rows: np.ndarray, start: np.ndarray) -> np.ndarray:
        shift = np.array([start[3] * middle[0], start[4] * middle[1], 0, 0, 0])
        found = minimize(objective, start - shift, (rows,), "BFGS", jac=True, options={"gtol": 1e-8}).x
        return found + np.array([found[3] * middle[0], found[4] * middle[1], 0, 0, 0])

    whole = np.arange(len(table))
    best = fit(whole, np.array([6.18, 7.64, 0.597, 0.348, 0.366]))
    rng = np.random.default_rng(0)
    draws = np.array([fit(rng.integers(0, len(table), len(table)), best) for _ in range(DRAWS)])
    a, b, e, alpha, beta = best
    miss = np.log(np.exp(a - alpha * log_n) + np.exp(b - beta * log_d) + np.exp(e)) - log_l
    print(f"runs {len(table)}; N {table[:, 0].min():.3g} to {table[:, 0].max():.3g}", end="; ")
    print(f"D {np.exp(log_d.min()):.3g} to {np.exp(log_d.max()):.3g}")
    print("refit: ln A, ln B, ln E, alpha, beta =", best.tolist())
    print("standard errors of A, B, E, alpha, beta:", [*np.exp(draws[:, :3]).std(0), *draws[:, 3:].std(0)])
    print("covariance:", [[float(f"{v:.10g}") for v in row] for row in np.cov(draws.T)])
    print(f"90 % of runs within {np.quantile(np.abs(miss), 0.9):.5f} of the log loss")


def step_law(folder: Path) -> None:
    """Mean and covariance of the published bootstrap fits."""
    rows = list(csv.DictReader((folder / "data" / "1004_fitted_lr_bs_scaling_model_parameters.csv").open()))
    for names in (("lr_intercept", "lr_coefN", "lr_coefD"), ("bs_intercept", "bs_coefD")):
        values = np.array([[float(row[name]) for name in names] for row in rows])
        print(names, values.mean(0).tolist(), [[float(f"{v:.10g}") for v in row] for row in np.cov(values.T)])


def straying(folder: Path) -> None:
    """Loss above the best run of each sweep of one N and D, at factors of its learning rate or batch."""
    sweeps: dict[tuple[str, str], dict[tuple[float, int], float]] = defaultdict(dict)
    for row in csv.DictReader((folder / "data" / "dense_lr_bs_loss.csv").open()):
        key = float(row["lr"]), int(row["bs"])
        cell = sweeps[row["N"], f"{float(row['D']):.2g}"]
        cell[key] = min(float(row["smooth loss"]), cell.get(key, np.inf))
    sweeps = {key: cell for key, cell in sweeps.items() if len(cell) >= 50}
    costs: dict[tuple[str, float], list[float]] = defaultdict(list)
    scatter: dict[str, list[float]] = defaultdict(list)
    for (size, tokens), cell in sweeps.items():
        (rate, batch), least = min(cell.items(), key=lambda item: item[1])
        n, d = float(size), float(tokens)
        scatter["learning rate"].append(np.log(rate / (1.79 * n**-0.713 * d**0.307)))
        scatter["batch"].append(np.log(batch * 2048 / (0.58 * d**0.571)))
        same = {"learning rate": {r: v for (r, b), v in cell.items() if b == batch}}
        same["batch"] = {float(b): v for (r, b), v in cell.items() if r == rate}
        batches = {b for _, b in cell}
        same["batch, rate tuned again"] = {
            float(other): min(v for (_, b), v in cell.items() if b == other) for other in batches
        }
        for name, line in same.items():
            xs, ys = zip(*sorted(line.items()), strict=True)
            for factor in FACTORS:
                x = (rate if name == "learning rate" else batch) * factor
                if xs[0] * 0.95 <= x <= xs[-1] * 1.05:
                    costs[name, factor].append(float(np.interp(np.log(x), np.log(xs), ys)) - least)
    sizes = sorted(float(size) for size, _ in sweeps)
    print(f"{len(sweeps)} sweeps; N {sizes[0]:.4g} to {sizes[-1]:.4g}; ", end="")
    print(f"D {min(float(d) for _, d in sweeps):.3g} to {max(float(d) for _, d in sweeps):.3g}")
    for name, values in scatter.items():  # natural logarithms
        print(
            f"log of best {name} over Step Law: mean {np.mean(values):.3f}, least {min(values):.3f}, "
            f"most {max(values):.3f}"
        )
    for (name, factor), values in costs.items():
        print(
            f"{name} x {factor:g}: median {np.median(values):.4f}, least {min(values):.4f}, most {max(values):.4f}, "
            f"sweeps {len(values)}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chinchilla", type=Path)
    parser.add_argument("--steplaw", type=Path)
    given = parser.parse_args()
    if given.chinchilla:
        refit(given.chinchilla)
    if given.steplaw:
        step_law(given.steplaw)
        straying(given.steplaw)
