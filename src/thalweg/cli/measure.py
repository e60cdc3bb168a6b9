"""thalweg measure: curvature and sharpness of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.train.recipe import Recipe

__all__ = ["measure"]


def measure(
    *checkpoints: Path,
    recipe: Path | None = None,
    measures: str = "loss,lambda_max,trace",
    windows: int = 32,
    batch: int = 8,
    products: int = 0,
    params: str = "*",
    float64: bool = False,
    device: str = "cpu",
    threads: int = 0,
    plot: Path | None = None,
    json: bool = False,
) -> None:
    """Measure the loss landscape at checkpoints, on validation windows of their recipe.

    Parameters
    ----------
    checkpoints
        Run folders (their newest checkpoint), checkpoint folders, or folders in Hugging Face's form.
    recipe
        Says model and data; needed where the checkpoint lies in no run.
    measures
        Names, separated by commas, some with an argument: lambda_max:5, average:0.05, density, noise; all are in
        docs/cards/landscape.md.
    windows
        Validation sequences, the same ones each time.
    batch
        Sequences in one pass; changes memory, not the numbers.
    products
        Matrix-vector products for each measure; 0 takes its own default.
    params
        Pattern of the parameters to measure in, such as "model.layers.0.*".
    float64
        Compute in double precision.
    device
        cpu, cuda, mps or auto.
    threads
        Of torch; 0 leaves them.
    plot
        Draw it here (.png, .svg or .pdf): spectra, and numbers over steps, eigenvalues with their edge of stability.
    json
        Print one JSON object.
    """
    from thalweg.cli.figures import check, save
    from thalweg.cli.output import emit
    from thalweg.errors import InputError
    from thalweg.landscape.measures import parse

    check(plot)
    words = [word.strip() for word in measures.split(",") if word.strip()]
    for name, value in (("windows", windows), ("batch", batch)):
        if value < 1:
            raise InputError(f"{name} = {value} must be at least 1")
    if not checkpoints or not words:
        raise InputError("measure got no checkpoint or no measure: name at least one of each")
    for word in words:
        parse(word)
    import torch

    from thalweg.landscape.edge import stability_edge

    if threads:
        torch.set_num_threads(threads)
    options: dict[str, Any] = {"params": params, "dtype": torch.float64 if float64 else None}
    points, rates, drawn, edges, failure = [], {}, [], {}, None
    for folder, step, where, shards, chosen in [(folder, *find(folder, recipe)) for folder in checkpoints]:
        try:
            found = measure_one(
                where, shards, chosen, words, device=device, windows=windows, batch=batch, products=products, **options
            )
        except InputError as error:
            failure = error  # what is measured so far is told first
            break
        points.append((str(folder), step, found))
        if step:
            rates[str(folder)] = float(chosen.rates()[min(step, chosen.steps) - 1])
        label = _label(folder, where)
        drawn.append((label, step, found))
        edges[label] = stability_edge(chosen.rates(), chosen.optimizer)
    if failure is not None and not points:
        raise failure
    if plot is not None:
        from thalweg.landscape.figure import plot_measurements

        save(plot_measurements(drawn, edges, unit="nats/token"), plot)
    if json:
        emit("measure", {"points": [_plain(label, step, found, rates) for label, step, found in points]})
    else:
        _print(points)
    if failure is not None:
        raise failure


def find(folder: Path, recipe: Path | None) -> tuple[int | None, Path, Path, Recipe]:
    """The finished updates of a checkpoint, its folder, where its data lie, and the recipe."""
    from thalweg.errors import InputError
    from thalweg.runs import Run, run_root
    from thalweg.train.recipe import Recipe, load_recipe

    if not folder.exists():
        raise InputError(f"{folder} does not exist: name a run folder, a checkpoint folder or a model's")
    where, run = folder, None
    if (folder / "run.json").exists():
        run = Run.open(folder)
        newest = run.latest_checkpoint()
        if newest is None:
            raise InputError(f"run {folder} has no checkpoint yet: train on, or set checkpoint.every")
        where = newest.folder
    elif (folder.resolve().parent.parent / "run.json").exists():
        run = Run.open(folder.resolve().parent.parent)
    if run is None and recipe is None:
        raise InputError(f"{folder} lies in no run: say model and data with --recipe RECIPE.toml")
    if not any((where / name).exists() for name in ("config.json", "model.safetensors", "shards")):
        raise InputError(f"{where} holds no model.safetensors: name a run folder, a checkpoint folder or a model's")
    tail = where.name.partition("step-")[2]
    chosen = load_recipe(recipe) if recipe is not None else Recipe.from_dict(run.recipe)  # pyrefly: ignore
    shards = (run.folder.parent if run is not None else run_root()) / "data"
    return (int(tail) if tail.isdecimal() else None), where, shards, chosen


def _label(folder: Path, where: Path) -> str:
    """The run's name, that of the folder where the checkpoint lies in none."""
    run = where.resolve().parent.parent
    return run.name if (run / "run.json").exists() else folder.name


def measure_one(
    folder: Path,
    shards: Path,
    recipe: Recipe,
    words: list[str],
    *,
    device: str,
    windows: int,
    batch: int,
    products: int,
    **options: Any,
) -> dict[str, Any]:
    """One checkpoint's measurements by word; ``options`` are those of ``landscape.measure``."""
    import torch

    from thalweg.data import validation_batches
    from thalweg.errors import InputError
    from thalweg.interop.huggingface import load
    from thalweg.landscape import measure, next_token_loss
    from thalweg.nn import LanguageModel
    from thalweg.train.checkpoint import load_model
    from thalweg.train.setup import pick_device, prepare

    if (folder / "config.json").exists():
        model = load(folder, dtype=torch.float32)
    else:
        model = LanguageModel(recipe.model)
        try:
            load_model(folder, model)
        except InputError as error:
            raise InputError(str(error).replace("delete it to resume from an older one", "measure another")) from None
    data = prepare(recipe.data, shards)
    data.check(recipe)
    rows = validation_batches(data.validation, context=recipe.data.context, batch=batch, count=windows)
    model = model.to(pick_device(device))
    batches = [torch.from_numpy(part) for part in rows]
    return measure(model, next_token_loss, batches, words, products=products, **options)


def _plain(label: str, step: int | None, found: dict[str, Any], rates: dict[str, float]) -> dict[str, Any]:
    return {
        "checkpoint": label,
        "step": step,
        "learning_rate": rates.get(label),
        "measurements": {word: item.to_dict() for word, item in found.items()},
    }


def _print(points: list[tuple[str, int | None, dict[str, Any]]]) -> None:
    import numpy as np

    from thalweg.cli.output import table

    rows, notes = [], []
    for label, _, found in points:
        for word, item in found.items():
            many = np.ndim(item.value) > 0
            value = ", ".join(f"{v:.5g}" for v in item.value) if many and np.size(item.value) <= 16 else ""
            value = value or (f"{np.size(item.value)} values" if many else f"{item.value:.6g}")
            error = "" if item.uncertainty in ("exact", "unknown") else f"{np.max(item.error):.2g}"
            kind = f"{item.uncertainty}, largest" if many and error else item.uncertainty
            rows.append((label, word, value, error, kind, item.products, f"{item.seconds:.1f}"))
            notes += [note for note in item.notes if note not in notes]
    table(("checkpoint", "measure", "value", "error", "of kind", "products", "seconds"), rows)
    for note in notes:
        print(f"note: {note}")
