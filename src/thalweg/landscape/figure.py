"""Pictures of measurements: spectra of the Hessian, and each number along its run, the top eigenvalue beside its edge.

Every picture carries its caption, made from what was measured: what the bars are, which curve is which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.errors import InputError
from thalweg.landscape.edge import Edge
from thalweg.landscape.measurement import Measurement

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_measurements"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito (2008), apart for all common kinds of colour blindness."""
MARKERS = "osD^vPX"
STYLES = ("-", (0, (5, 1)), "-.", (0, (1, 1)))
LARGEST = 16
"""Values of one measure that are drawn as lines."""
AXES = {
    "loss": "loss ({unit})",
    "gradient_norm": "gradient norm\n({unit} / weight)",
    "lambda_max": "largest eigenvalue\n({unit} / weight²)",
    "lambda_min": "smallest eigenvalue\n({unit} / weight²)",
    "trace": "trace of the Hessian\n({unit} / weight²)",
    "frobenius": "Frobenius norm\n({unit} / weight²)",
    "ggn_lambda_max": "largest eigenvalue,\nGauss-Newton ({unit} / weight²)",
    "ggn_trace": "trace, Gauss-Newton\n({unit} / weight²)",
    "sqrt_diag": "tr Diag(G)^½\n(root of {unit} / weight)",
    "spherical": "spherical sharpness\n({unit})",
    "adaptive": "adaptive sharpness\n({unit})",
    "ascent": "rise along the gradient\n({unit})",
    "worst": "worst rise found\n({unit})",
    "average": "average rise\n({unit})",
    "noise": "trace of gradient noise\n(({unit} / weight)²)",
    "alignment": "gradient in top\neigenvectors (0 to 1)",
}
Points = Sequence[tuple[str, int | None, Mapping[str, Measurement]]]


def plot_measurements(points: Points, edges: Mapping[str, Edge] | None = None, *, unit: str = "loss") -> Figure:
    """Draws what was measured: spectra where there are densities, else each number at its step with its error.

    Args:
        points: label of the run, finished updates (None where unknown) and measurements of each checkpoint; points of
            one label are joined in order of their steps. All have the same measures.
        edges: by label, the curve that is drawn with ``lambda_max``, see ``stability_edge``.
        unit: of the loss.

    Raises:
        InputError: nothing of it can be drawn.
    """
    from matplotlib.figure import Figure

    first = points[0][2] if points else {}
    words = [word for word, found in first.items() if not np.ndim(found.value) or np.size(found.value) <= LARGEST]
    spectra = [word for word in first if word.partition(":")[0] == "density"]
    if not spectra and not words:
        raise InputError("nothing that was measured can be drawn: add density or a measure with one number")
    if spectra and len(points) == 1:
        words = []  # one dot says less than the table; eigenvalues are marked in the spectrum
    count = len(spectra) + len(words)
    figure = Figure(figsize=(7, 1 + 2.4 * count), layout="constrained")
    panels = figure.subplots(count, 1, squeeze=False)[:, 0]
    notes: list[str] = []
    for axes, word in zip(panels, spectra, strict=False):
        notes.append(_spectra(figure, axes, points, word, unit))
    for axes, word in zip(panels[len(spectra) :], words, strict=True):
        notes += _series(axes, word, points, edges or {}, unit)
    for axes in panels:
        axes.spines[["right", "top"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.supxlabel("\n".join(dict.fromkeys(notes)), fontsize=8, x=0.02, ha="left", color="#444444")
    return figure


def _runs(points: Points) -> dict[str, list[tuple[int | None, Mapping[str, Measurement]]]]:
    """The points of each label, in order of steps where all are known."""
    runs: dict[str, list[tuple[int | None, Mapping[str, Measurement]]]] = {}
    for label, step, found in points:
        runs.setdefault(label, []).append((step, found))
    if None not in {step for _, step, _ in points}:
        for found in runs.values():
            found.sort(key=lambda point: point[0] or 0)
    return runs


def _spectra(figure: Figure, axes: Axes, points: Points, word: str, unit: str) -> str:
    """One density a checkpoint; more than seven are coloured by their step. Returns the caption."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    steps = [step for _, step, _ in points]
    many = len(points) > len(COLOURS) and None not in steps and len({label for label, _, _ in points}) == 1
    scale = Normalize(min(s or 0 for s in steps), max(s or 0 for s in steps))
    for place, (label, step, measured) in enumerate(points):
        found = measured[word]
        colour: Any = colormaps["viridis"](0.95 * scale(float(step or 0))) if many else COLOURS[place % len(COLOURS)]
        grid, mean = np.asarray(found.extra["grid"]), np.asarray(found.value)
        text = None if many else label if step is None else f"{label}, {step} updates"
        axes.semilogy(grid, np.maximum(mean, 1e-10), color=colour, lw=1.2, ls=STYLES[place % 4], label=text)
        low, high = np.maximum(mean - found.error, 1e-10), np.maximum(mean + found.error, 1e-10)
        axes.fill_between(grid, low, high, color=colour, alpha=0.2, lw=0)
        tops = [m for name, m in measured.items() if name.partition(":")[0] == "lambda_max"]
        if tops and not many:
            values = np.atleast_1d(tops[0].value)
            axes.plot(values, [0.03] * len(values), "v", color=colour, ms=5, transform=axes.get_xaxis_transform())
    top = max(float(np.max(measured[word].value)) for _, _, measured in points)
    axes.set_ylim(top * 1e-8, top * 3)
    axes.set_xlabel(f"eigenvalue of the Hessian ({unit} / weight²)")
    axes.set_ylabel("density (weight² / " + unit + ")")
    marks = ""
    if many:
        figure.colorbar(ScalarMappable(scale, "viridis"), ax=axes, label="finished updates")
    else:
        axes.legend(fontsize=7, frameon=False)
        if any(name.partition(":")[0] == "lambda_max" for _, _, measured in points for name in measured):
            marks = " Triangles: largest eigenvalues, by Lanczos."
    return f"Spectrum: smoothed by 1 % of its range; band: standard error over probes.{marks}"


def _wrapped(words: str) -> str:
    return words.replace(" / ", "\n/ ", 1) if len(words) > 20 else words


def _series(axes: Axes, word: str, points: Points, edges: Mapping[str, Edge], unit: str) -> list[str]:
    """One line a run and value, with bars; returns what the caption should say."""
    name, runs = word.partition(":")[0], _runs(points)
    known = None not in {step for _, step, _ in points}
    notes, offset, drawn = [], 0, 0
    for label, found in runs.items():
        x = np.array([step for step, _ in found]) if known else offset + np.arange(len(found))
        offset += len(found)
        values = np.array([np.atleast_1d(measured[word].value) for _, measured in found], dtype=float)
        bars = np.nan_to_num(np.array([np.atleast_1d(measured[word].error) for _, measured in found], dtype=float))
        for column in range(values.shape[1]):
            colour, marker = COLOURS[drawn % len(COLOURS)], MARKERS[drawn % len(MARKERS)]
            text = label if len(runs) > 1 else ""
            if values.shape[1] > 1:
                text = f"{text} λ{column + 1}".strip()
            look = {"marker": marker, "ms": 3.5, "lw": 1.2, "capsize": 2, "label": text or None}
            axes.errorbar(x, values[:, column], bars[:, column], color=colour, **look)
            drawn += 1
    kinds = sorted({measured[word].uncertainty for _, _, measured in points} - {"exact", "unknown"})
    if kinds:
        notes.append(f"Bars of {word}: {kinds[0]}.")
    if name in ("lambda_max", "ggn_lambda_max") and known:
        notes += _edges(axes, runs, edges)
    axes.set_xlabel("finished updates" if known else "checkpoint")
    if not known:
        names = [
            label if len(found) == 1 else f"{label} {i + 1}" for label, found in runs.items() for i in range(len(found))
        ]
        axes.set_xticks(range(len(names)), names, fontsize=7)
    axes.set_ylabel(AXES.get(name, word).format(unit=unit), fontsize=9)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return notes


def _edges(axes: Axes, runs: Mapping[str, Any], edges: Mapping[str, Edge]) -> list[str]:
    """The edge of each run between its first and last point, once where several are the same."""
    notes, seen = [], []
    for label, found in runs.items():
        edge = edges.get(label)
        steps = [step for step, _ in found]
        if edge is None:
            continue
        inside = (edge.steps >= min(steps)) & (edge.steps <= max(steps)) & np.isfinite(edge.curvature)
        curve = (edge.steps[inside], edge.curvature[inside])
        if not inside.any() or any(np.array_equal(curve, other) for other in seen):
            continue
        style = "--" if inside.sum() > 1 else "_"
        axes.plot(
            *curve, style, color="#555555", lw=1.2, label=edge.words.replace(" / ", "\n/ ", 1) if not seen else None
        )
        seen.append(curve)
        notes.append(
            "Dashed: above it gradient descent on all data swings away (edge of stability)."
            if edge.own
            else "Dashed: edge of plain gradient descent at this rate, not of the optimizer that trained."
        )
    if seen and axes.dataLim.y0 > 0:
        axes.set_yscale("log")
    return list(dict.fromkeys(notes))
