"""Seconds and memory for products, eigenvalues, trace, density: ours, PyHessian, curvlinops, hessian-eigenthings.

Claim to test: at least 3 times faster than each at equal residual or standard error. One batch, the same weights (a
short training on source text), float32, all attention on the MATH kernel, which the peers do not switch to by
themselves. Each cell runs in a process forked for it, sides in turn; its peak memory is above what the process had.
Seconds are CPU seconds of the process on one thread with its set-up, which other work on the machine disturbs less than
the clock's (kept too). Peers are optional:

    pip install --target PEERS --no-deps PyHessian curvlinops-for-pytorch hessian-eigenthings einops einconv
        backpack-for-pytorch unfoldNd linear-operator jaxtyping wadler-lindig
    PYTHONPATH=PEERS python benchmarks/landscape.py [--sizes mlp tiny ten] [--tasks product top1 top10 trace density]
        [--repeats 3] [--threads 1] [--first 0] [--trained FOLDER] [--linearize]
        [--tried tiny] [--largest]

What is equal: ``product`` 16 products, one after the other; ``top1``, ``top10`` the residuals |Hv - (v'Hv) v| of all
returned vectors, measured here afterwards by a plain double backward pass, at most 1e-3 of |v'Hv|. A peer is run with
more and more effort until that holds; only the run that reached it is charged, ``searched`` is the sum of all of them.
``trace`` 48 probes (all take Hutchinson's, the peers' best here), then the seconds to our standard error, by (its error
/ ours)^2; a peer that states none is taken plain. ``density`` 4 probes of 24 steps, and the trace that it gives.
``--largest``: our largest eigenvalue of a model of 162M weights, into a file of its own
(OUT-largest.json).
"""

from __future__ import annotations

import argparse
import argparse as source_text
import itertools
import json
import multiprocessing
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from thalweg.files import write_atomic
from thalweg.landscape import eigenpairs, hessian, spectral_density, trace
from thalweg.landscape.differences import Differences
from thalweg.landscape.products import BACK_ENDS
from thalweg.nn import LanguageModel, ModelConfig
from thalweg.runs.environment import environment

RESULTS = Path(__file__).parent / "results"
TOLERANCE, TRACE, PROBES, STEPS, PRODUCTS = 1e-3, 48, 4, 24, 16
SIZES = {
    "tiny": (ModelConfig(vocab_size=256, dim=128, layers=4, heads=4, context=64), 4),
    "ten": (ModelConfig(vocab_size=256, dim=384, layers=6, heads=6, context=64), 4),
}
"""Shape and rows of a batch."""

Result = tuple[float, float, int]
"""Value, error as the side states it (nan where it states none), products (-1 where it does not say)."""

Pairs = tuple[Tensor, int]
"""Eigenvectors (k, n), one a row, and products."""


class Logits(nn.Module):
    """The language model as peers want it: ids (B, T) to logits, classes second."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, V, T)."""
        return self.model(ids).logits.transpose(1, 2)


def problem(size: str) -> tuple[nn.Module, Tensor, Tensor]:
    """Model, inputs and targets after 40 steps of AdamW."""
    torch.manual_seed(0)
    if size == "mlp":
        model: nn.Module = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
        x, y = torch.randn(500, 64), torch.randint(10, (500,))
    else:
        config, rows = SIZES[size]
        model = Logits(LanguageModel(config, torch.Generator().manual_seed(0)))
        text = torch.tensor(list(Path(source_text.__file__).read_bytes()))
        windows = text[: 40 * rows * (config.context + 1)].view(40, rows, -1)
        x, y = windows[0, :, :-1].contiguous(), windows[0, :, 1:].contiguous()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(40):
        a, b = (x, y) if size == "mlp" else (windows[step, :, :-1], windows[step, :, 1:])
        optimizer.zero_grad()
        F.cross_entropy(model(a), b).backward()
        optimizer.step()
    return model.eval(), x, y


class Ours:
    """Thalweg."""

    efforts = (TOLERANCE, TOLERANCE / 2)

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        self.op = hessian(model, lambda m, batch: F.cross_entropy(m(batch[0]), batch[1]), [(x, y)])

    def product(self) -> Result:
        """Sixteen products."""
        for _ in range(PRODUCTS):
            self.op.rows(torch.randn(1, self.op.n))
        return float("nan"), 0.0, self.op.products

    def top(self, k: int, effort: float) -> Pairs:
        """The k largest: effort is the tolerance."""
        pairs = eigenpairs(self.op, k, tolerance=effort, products=600)
        return pairs.vectors.T, pairs.products

    def trace(self) -> Result:
        """The trace."""
        return trace(self.op, TRACE)

    def density(self) -> Result:
        """The density, by its trace."""
        value, error, products = spectral_density(self.op, probes=PROBES, steps=STEPS).trace()
        return value, error, products


class PyHessian:
    """amirgholami/PyHessian: power iteration, Hutchinson, Lanczos quadrature."""

    efforts = ((100, 1e-3), (300, 1e-5), (1000, 1e-6), (3000, 1e-7))

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        from pyhessian import hessian as theirs

        self.it = theirs(model, F.cross_entropy, data=(x, y), cuda=False)

    def product(self) -> Result:
        """Sixteen products."""
        from pyhessian.utils import hessian_vector_product

        for _ in range(PRODUCTS):
            hessian_vector_product(self.it.gradsH, self.it.params, [torch.randn_like(p) for p in self.it.params])
        return float("nan"), 0.0, PRODUCTS

    def top(self, k: int, effort: tuple[int, float]) -> Pairs:
        """The k largest in magnitude: effort is the most iterations for each and the change at which it stops."""
        _, vectors = self.it.eigenvalues(maxIter=effort[0], tol=effort[1], top_n=k)
        return torch.stack([torch.cat([piece.flatten() for piece in vector]) for vector in vectors]), -1

    def trace(self) -> Result:
        """The trace."""
        forms = self.it.trace(maxIter=TRACE, tol=0.0)
        return float(np.mean(forms)), float(np.std(forms, ddof=1) / len(forms) ** 0.5), len(forms)

    def density(self) -> Result:
        """The density, by its trace."""
        nodes, weights = self.it.density(iter=STEPS, n_v=PROBES)
        size = sum(p.numel() for p in self.it.params)
        each = size * (np.array(nodes) * np.array(weights)).sum(axis=1)
        return float(each.mean()), float(each.std(ddof=1) / PROBES**0.5), PROBES * STEPS


class Curvlinops:
    """f-dangel/curvlinops: SciPy's eigsh, Hutchinson, Papyan's densities."""

    efforts = (1e-2, 1e-3, 1e-4)

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        from curvlinops import HessianLinearOperator

        params = [p for p in model.parameters() if p.requires_grad]
        self.op = HessianLinearOperator(model, nn.CrossEntropyLoss(), params, [(x, y)], check_deterministic=False)

    def product(self) -> Result:
        """Sixteen products."""
        return float((self.op @ torch.randn(self.op.shape[1], PRODUCTS)).norm()), 0.0, PRODUCTS

    def top(self, k: int, effort: float) -> Pairs:
        """The k largest: effort is ARPACK's tolerance."""
        from scipy.sparse.linalg import LinearOperator, eigsh

        inner, count = self.op.to_scipy(), [0]

        def product(v: np.ndarray) -> np.ndarray:
            count[0] += 1
            return inner @ v.astype(np.float32).ravel()

        start = np.random.default_rng(0).standard_normal(inner.shape[0]).astype(np.float32)
        wrapped = LinearOperator(inner.shape, matvec=product, dtype=np.float32)
        _, vectors = eigsh(wrapped, k=k, which="LA", tol=effort, v0=start)
        return torch.from_numpy(np.ascontiguousarray(vectors.T)), count[0]

    def trace(self) -> Result:
        """The trace."""
        from curvlinops import hutchinson_trace as theirs

        return float(theirs(self.op, TRACE)), float("nan"), TRACE

    def density(self) -> Result:
        """The density, by its trace."""
        from curvlinops import lanczos_approximate_spectrum

        ends = (-1.0, 100.0)  # given, so that no products go into finding them
        lanczos_approximate_spectrum(self.op, ncv=STEPS, num_repeats=PROBES, boundaries=ends)
        return float("nan"), float("nan"), PROBES * STEPS


class Eigenthings:
    """noahgolmant/pytorch-hessian-eigenthings: Lanczos, Hutchinson, quadrature."""

    efforts = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 130, 200)

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        from hessian_eigenthings import HessianOperator

        def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            return F.cross_entropy(m(batch[0]), batch[1])

        self.op = HessianOperator(model, [(x, y)], loss)

    def product(self) -> Result:
        """Sixteen products."""
        for _ in range(PRODUCTS):
            self.op.matvec(torch.randn(self.op.size))
        return float("nan"), 0.0, PRODUCTS

    def top(self, k: int, effort: int) -> Pairs:
        """The k largest: effort is the number of steps, fixed beforehand."""
        from hessian_eigenthings import lanczos

        found = lanczos(self.op, k=k, max_iter=max(effort, k), tol=TOLERANCE, which="LA", seed=0, reorthogonalize=True)
        return found.eigenvectors, int(found.iterations)

    def trace(self) -> Result:
        """The trace."""
        from hessian_eigenthings import trace as theirs

        found = theirs(self.op, num_matvecs=TRACE, method="hutchinson", seed=0)
        return found.estimate, found.stderr, TRACE

    def density(self) -> Result:
        """The density, by its trace."""
        from hessian_eigenthings import spectral_density as theirs

        found = theirs(self.op, num_runs=PROBES, lanczos_steps=STEPS, seed=0)
        each = self.op.size * (found.raw_eigenvalues * found.raw_weights).sum(dim=1)
        return float(each.mean()), float(each.std() / PROBES**0.5), PROBES * STEPS


SIDES: dict[str, Callable[..., Any]] = {
    "thalweg": Ours,
    "PyHessian": PyHessian,
    "curvlinops": Curvlinops,
    "hessian-eigenthings": Eigenthings,
}
TASKS = ("product", "top1", "top10", "trace", "density")


def _memory(key: str) -> float:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key)]
    return int(line.split()[1]) / 1024


def residuals(given: tuple[nn.Module, Tensor, Tensor], vectors: Tensor) -> tuple[list[float], list[float]]:
    """The value v'Hv and |Hv - (v'Hv) v| / |v'Hv| of each vector, by torch's double backward pass."""
    model, x, y = given
    params = [p for p in model.parameters() if p.requires_grad]
    slopes = torch.autograd.grad(F.cross_entropy(model(x), y), params, create_graph=True)
    values, found = [], []
    for row in vectors:
        vector = (row.double() / row.double().norm()).float()
        pieces = [piece.view_as(p) for piece, p in zip(vector.split([p.numel() for p in params]), params, strict=True)]
        image = torch.autograd.grad(slopes, params, pieces, retain_graph=True)
        flat = torch.cat([piece.flatten() for piece in image]).double()
        values.append(float(flat @ vector.double()))
        found.append(float((flat - values[-1] * vector).norm()) / abs(values[-1]))
    return values, found


def cell(side: str, task: str, given: tuple[nn.Module, Tensor, Tensor], effort: int, queue: Any) -> None:
    """One run, in its own process: wall and CPU seconds with set-up, peak MiB above the start, and what was found."""
    warnings.simplefilter("ignore")
    try:
        Path("/proc/self/clear_refs").write_text("5")
        before = _memory("VmRSS")
        with sdpa_kernel(SDPBackend.MATH):
            began, spent = time.perf_counter(), time.process_time()
            made = SIDES[side](*given)
            if task.startswith("top"):
                vectors, products = made.top(int(task[3:]), made.efforts[effort])
            else:
                value, error, products = getattr(made, task)()
            found = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - spent, "products": products}
            found["mib"] = _memory("VmHWM") - before
            if task.startswith("top"):
                values, rest = residuals(given, vectors)
                found |= {"value": min(values), "error": float("nan"), "residual": max(rest)}
            else:
                found |= {"value": value, "error": error}
        queue.put(found)
    except Exception as failure:
        queue.put(
            {"failure": f"{type(failure).__name__}: {str(failure).splitlines()[0][:200] if str(failure) else ''}"}
        )


def run(side: str, task: str, given: tuple[nn.Module, Tensor, Tensor], effort: int, limit: float) -> dict[str, Any]:
    """A cell with a limit of seconds."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=cell, args=(side, task, given, effort, queue))
    process.start()
    try:
        return queue.get(timeout=limit)
    except Empty:
        process.kill()
        return {"failure": f"more than {limit:.0f} s"}
    finally:
        process.join(5)


def reached(
    side: str, task: str, given: tuple[nn.Module, Tensor, Tensor], first: int, limit: float
) -> tuple[int, dict[str, Any]]:
    """The first effort, from ``first`` on, whose residuals are small enough, and its run."""
    if not task.startswith("top"):
        return 0, run(side, task, given, 0, limit)
    searched, best = 0.0, float("inf")
    for effort in range(first, len(SIDES[side].efforts)):
        found = run(side, task, given, effort, limit)
        if "failure" in found:
            note = f" (residual {best:.2g} at the effort before)" if best < float("inf") else ""
            return effort, {"failure": found["failure"] + note}
        searched, best = searched + found["cpu"], found["residual"]
        if best <= TOLERANCE:
            return effort, found | {"searched": searched}
    return first, {"failure": f"residual {best:.2g} at the largest effort, after {searched:.0f} s"}


def equal(task: str, ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """Their CPU seconds over ours, for a trace at our standard error where they state one."""
    ratio = theirs["cpu"] / ours["cpu"]
    if task == "trace" and theirs["error"] == theirs["error"]:
        ratio *= (theirs["error"] / ours["error"]) ** 2
    return ratio


def tried(size: str) -> None:
    """Prints what cheaper products would cost and how wrong they would be."""
    model, x, y = problem(size)
    op = hessian(model, lambda m, batch: F.cross_entropy(m(batch[0]), batch[1]), [(x, y)], keep=0)
    bound, precision = op.point.bound, torch.backends.mkldnn.matmul
    with bound.quiet():
        ways = {name: BACK_ENDS[name](lambda t: bound.loss(t, (x, y)), bound.theta) for name in ("rev-rev", "cached")}

        def timed(name: str, count: int, inside: str = "ieee") -> Tensor:
            rows, precision.fp32_precision = bound.layout.split(torch.ones(count, op.n).cumsum(0)), inside
            spent = [time.process_time()]
            for _ in range(4):
                image = ways[name](rows)
                spent.append(time.process_time())
            precision.fp32_precision = "ieee"
            each = min(b - a for a, b in itertools.pairwise(spent)) / count
            print(f"{name}, {count} vectors, {inside}: {1e3 * each:.1f} ms each", flush=True)
            return bound.layout.flat(image)[0]

        exact = timed("rev-rev", 1)
        timed("cached", 8)
        print(f"  relative error of bfloat16: {float((timed('rev-rev', 1, 'bf16') - exact).norm() / exact.norm()):.2g}")
        began = time.process_time()
        slope = op.point.gradient()
        print(f"gradient: {1e3 * (time.process_time() - began):.1f} ms")
    pairs = eigenpairs(op, tolerance=1e-3)
    vector = pairs.vectors[:, 0]
    ahead = (op.point.gradient(1e-3 * vector) - slope) / 1e-3
    error = float((ahead - op.rows(vector[None])[0]).norm() / pairs.values[0])
    print(f"difference of gradients along the first eigenvector, step 1e-3: relative error {error:.2g}")
    rough = Differences(op.point)
    probes = [rough.probe(i) for i in range(12)]
    forms = np.array([[float(rough.image(p) @ p), float(op.rows(p[None])[0] @ p)] for p in probes])
    gaps = forms[:, 0] - forms[:, 1]
    print(f"forms along signs: off by {gaps.mean():.2g} +- {gaps.std():.2g}, scatter {forms[:, 1].std():.3g}")


def largest(out: Path) -> None:
    """Our largest eigenvalue of a model of 162M weights (gpt124, untied) on one window of 64 tokens."""
    torch.manual_seed(0)
    config = ModelConfig(vocab_size=50304, dim=768, layers=12, heads=12, context=64)
    model = Logits(LanguageModel(config, torch.Generator().manual_seed(0))).eval()
    text = torch.tensor(list(Path(source_text.__file__).read_bytes()))[:65]
    x, y = text[None, :-1].contiguous(), text[None, 1:].contiguous()
    count = sum(p.numel() for p in model.parameters())
    Path("/proc/self/clear_refs").write_text("5")
    before, began = _memory("VmRSS"), time.perf_counter()
    op = hessian(model, lambda m, batch: F.cross_entropy(m(batch[0]), batch[1]), [(x, y)])
    pairs = eigenpairs(op, 1, tolerance=1e-2, products=24)
    seconds, peak = time.perf_counter() - began, _memory("VmHWM") - before
    with sdpa_kernel(SDPBackend.MATH):
        values, rest = residuals((model, x, y), pairs.vectors.T)
    row = {"size": "largest", "parameters": count, "task": "top1", "side": "thalweg", "seconds": seconds, "mib": peak}
    row |= {"value": values[0], "residual": rest[0], "products": pairs.products}
    print(row)
    write_atomic(out, json.dumps({"command": sys.argv, "environment": environment("cpu"), "rows": [row]}, indent=1))


def linearize_error() -> float:
    """How far the product by ``torch.func.linearize`` of the tiny model's gradient is from a double backward pass."""
    model, x, y = problem("tiny")
    names, theta = zip(*((name, p.detach()) for name, p in model.named_parameters()), strict=True)

    def loss(weights: tuple[Tensor, ...]) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(model, dict(zip(names, weights, strict=True)), (x,)), y)

    vector = tuple(torch.randn_like(t) for t in theta)
    with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exact = torch.cat([p.flatten() for p in torch.func.vjp(torch.func.grad(loss), theta)[1](vector)[0]])
        found = torch.cat([p.flatten() for p in torch.func.linearize(torch.func.grad(loss), theta)[1](vector)])
    return float((found - exact).norm() / exact.norm())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["mlp", "tiny"], choices=["mlp", *SIZES])
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=list(SIDES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for one run")
    parser.add_argument("--out", type=Path, default=RESULTS / "landscape.json")
    parser.add_argument("--first", type=int, default=0, help="effort of the peers to begin with")
    parser.add_argument("--trained", type=Path, help="folder where trained models are kept for the next call")
    parser.add_argument("--linearize", action="store_true", help="only print the error of torch.func.linearize")
    parser.add_argument("--tried", choices=list(SIZES), help="only print cost and error of cheaper products")
    parser.add_argument("--largest", action="store_true", help="only our largest eigenvalue of a model of 124M weights")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.linearize:
        print(f"torch.func.linearize: relative error {linearize_error():.3g}")
        return
    if options.tried:
        tried(options.tried)
        return
    if options.largest:
        largest(options.out.with_name(f"{options.out.stem}-largest.json"))
        return
    rows = []
    for size in options.sizes:
        kept = options.trained / f"{size}.pt" if options.trained else None
        given = torch.load(kept, weights_only=False) if kept and kept.exists() else problem(size)
        if kept and not kept.exists():
            torch.save(given, kept)
        count = sum(p.numel() for p in given[0].parameters())
        for task in options.tasks:
            found: dict[str, list[dict[str, Any]]] = {side: [] for side in options.sides}
            effort = {side: 0 if side == "thalweg" else options.first for side in options.sides}
            for turn in range(options.repeats):
                for side in options.sides if turn % 2 == 0 else options.sides[::-1]:
                    if not any("failure" in r for r in found[side]):
                        effort[side], row = reached(side, task, given, effort[side], options.limit)
                        found[side].append(row)
            rows += summarise(size, count, task, found)
    document = {"command": sys.argv, "environment": environment("cpu"), "rows": rows}
    write_atomic(options.out, json.dumps(document, indent=1, default=str) + "\n")
    print(options.out)


def summarise(size: str, count: int, task: str, found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Prints and returns a row for each side: medians and the ratio's min, median, max over turns."""
    rows = []
    for side, runs in found.items():
        if any("failure" in r for r in runs):
            row = {"size": size, "task": task, "side": side, "failure": runs[-1]["failure"]}
            print(f"{size:5} {task:8} {side:20} {row['failure']}", flush=True)
            rows.append(row)
            continue
        keys = ("seconds", "cpu", "mib", "value", "error", "products", "residual")
        row = {key: statistics.median(r[key] for r in runs) for key in keys if key in runs[0]}
        if "searched" in runs[0]:
            row["searched"] = runs[0]["searched"]
        row |= {"size": size, "parameters": count, "task": task, "side": side}
        ours = [r for r in found.get("thalweg", []) if "failure" not in r]
        if len(ours) == len(runs):
            ratios = sorted(equal(task, o, r) for o, r in zip(ours, runs, strict=True))
            row["ratio"] = (ratios[0], statistics.median(ratios), ratios[-1])
        print(
            f"{size:5} {task:8} {side:20} {row['cpu']:8.2f} s {row['mib']:7.0f} MiB  value {row['value']:.5g} "
            f"error {row['error']:.2g} residual {row.get('residual', 0):.2g} products {row['products']:.0f}  ratio "
            + "-".join(f"{r:.2f}" for r in row.get("ratio", ())),
            flush=True,
        )
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
