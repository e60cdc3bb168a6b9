"""thalweg scale: the hyperparameters of another batch size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from thalweg.train.recipe import Recipe

__all__ = ["scale"]


def scale(
    *,
    to: int,
    from_: Annotated[int | None, Parameter(name="--from")] = None,
    optimizer: str | None = None,
    rule: Literal["auto", "square-root", "linear"] = "auto",
    lr: float | None = None,
    betas: str | None = None,
    momentum: float | None = None,
    eps: float | None = None,
    weight_decay: float | None = None,
    ema: float | None = None,
    warmup: int | None = None,
    steps: int | None = None,
    tokens: float | None = None,
    context: int = 1,
    recipe: Path | None = None,
    out: Path | None = None,
    noise_scale: float | None = None,
    run: Path | None = None,
    windows: int = 64,
    json: bool = False,
) -> None:
    """Hyperparameters that keep the training as it is, sample for sample, at another batch size.

    Adam and its kin by the square-root rule, SGD by the linear rule. Options not given are the optimizer's defaults.

    Parameters
    ----------
    to
        New batch, in the unit of --from: sequences, samples or tokens.
    from_
        Batch of the hyperparameters that are given [default: the recipe's].
    optimizer
        adamw, nadamw, adam_mini, adam, rmsprop or sgd; others need a --rule.
    rule
        auto takes the one that is derived for the optimizer.
    lr
        Learning rate.
    betas
        Two decays, b1,b2.
    momentum
        Of SGD; it stays.
    eps
        Added to the root of the second moment.
    weight_decay
        Decoupled, per unit of learning rate.
    ema
        Decay a step of an average of the weights.
    warmup
        Steps of warm-up at the old batch.
    steps
        Steps of the run at the old batch.
    tokens
        Tokens that the run reads, for which --context says how many a sequence has.
    context
        Tokens of a sequence; 1 where the batch counts tokens.
    recipe
        Recipe (.toml) whose batch, schedule, optimizer, average, evaluations and checkpoints are changed.
    out
        Write the new recipe here; another file of that name is left alone.
    noise_scale
        Gradient noise scale, in the unit of the batch: noise dominates well below it.
    run
        Run whose newest checkpoint it is measured at; its recipe is taken where nothing else is given.
    windows
        Validation sequences that it is measured on.
    json
        Print one JSON object.
    """
    from thalweg.cli.batch_limits import limit_of, measured, trial, validity
    from thalweg.cli.output import emit, table
    from thalweg.errors import InputError

    given = {
        "lr": lr,
        "betas": _betas(betas),
        "momentum": momentum,
        "eps": eps,
        "weight_decay": weight_decay,
        "ema": ema,
    }
    given = {name: value for name, value in given.items() if value is not None}
    lengths = {
        name: value for name, value in (("warmup", warmup), ("steps", steps), ("tokens", tokens)) if value is not None
    }
    source = _recipe(recipe, None if given or lengths or optimizer else run)
    if source is not None and (given or lengths or optimizer):
        word = next(iter(given | lengths | ({"optimizer": optimizer} if optimizer else {}))).replace("_", "-")
        raise InputError(f"--{word} is the recipe's to say: change it there, or leave --recipe out")
    if source is None and (optimizer is None or from_ is None):
        raise InputError("give --optimizer and --from, or a --recipe or --run that says both")
    if out is not None and source is None:
        raise InputError(f"--out {out} needs a --recipe or --run to write anew")
    if from_ is None:
        from_ = source.batch  # pyrefly: ignore
    if source is not None and from_ != source.batch:
        raise InputError(f"--from {from_} is not the recipe's batch = {source.batch}: leave it out")
    for word, count, least in (("from", from_, 1), ("to", to, 1), ("context", context, 1), ("windows", windows, 2)):
        if count < least:
            raise InputError(f"--{word} {count} must be at least {least}")
    for name, value in lengths.items():
        if not 1 <= value < float("inf"):
            raise InputError(f"--{name} {value:g} must be at least 1")
    if tokens is not None and steps is not None and abs(tokens / (from_ * context) - steps) > 1:
        read = f"{from_ * context:,} tokens (--from x --context) each are {tokens / (from_ * context):,.0f} steps"
        raise InputError(f"--tokens {tokens:g} at {read}, not --steps {steps}: give one of them")
    if noise_scale is not None and not 0 < noise_scale < float("inf"):
        raise InputError(f"--noise-scale {noise_scale} must be above 0: samples at which noise equals signal")
    made, notes = None, ()
    if source is not None:
        from thalweg.train.batch_size import scale_recipe

        made, notes = scale_recipe(source, to, rule=rule)
        _spare(out, made.to_toml())
        rows = _changes(source, made)
    else:
        rows = _scaled(str(optimizer), rule, given, to / from_) + _lengths(lengths, from_, to, context)
    if noise_scale is None and run is not None:
        noise_scale = measured(run, recipe, windows)
    limit = limit_of(source, str(optimizer), rule, given)
    notes = (*notes, *validity(from_, to, noise_scale, limit), *trial(source, str(optimizer)))
    if out is not None and made is not None:
        from thalweg.files import write_atomic

        write_atomic(out, made.to_toml())
    if json:
        result = {name: {"from": old, "to": new} for name, old, new in rows}
        facts = {
            "kappa": to / from_,
            "from": from_,
            "to": to,
            "largest_batch": limit * from_,
            "noise_scale": noise_scale,
        }
        emit("scale", {**facts, "values": result, "notes": list(notes), "out": out and str(out)})
        return
    table(("", f"batch {from_}", f"batch {to}"), [(name, _text(old), _text(new)) for name, old, new in rows])
    for note in notes:
        print(f"note: {note}")
    if out is not None:
        print(f"wrote {out}")


def _betas(text: str | None) -> tuple[float, ...] | None:
    from thalweg.errors import InputError

    if text is None:
        return None
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--betas {text} must be two decays such as 0.9,0.95") from None
    return first, second


def _recipe(path: Path | None, run: Path | None) -> Recipe | None:
    from thalweg.runs import Run
    from thalweg.train.recipe import Recipe, load_recipe

    if path is not None:
        return load_recipe(path)
    return Recipe.from_dict(Run.open(run).recipe) if run is not None else None


def _spare(path: Path | None, text: str) -> None:
    """Refuses to write over a file that says something else."""
    from thalweg.errors import InputError

    if path is not None and path.is_file() and path.read_bytes() != text.encode():
        raise InputError(f"--out {path} already holds another file: choose another name, or delete it")


def _scaled(name: str, rule: str, given: dict[str, Any], kappa: float) -> list[tuple[str, Any, Any]]:
    """Rows of what is given, and of the optimizer's own defaults where the rule changes them."""
    from thalweg.cli.batch_limits import option_defaults
    from thalweg.schedules.batch_scaling import BATCH_RULES, batch_rule, scale_hyperparameters

    chosen = batch_rule(name) if rule == "auto" else rule
    old = {k: v for k, v in option_defaults(name).items() if k in BATCH_RULES[chosen] and v != 0} | given
    new = scale_hyperparameters({"lr": 1.0} | old, kappa, rule=chosen)
    rows = [(key, value, new[key]) for key, value in old.items()]
    return rows if "lr" in old else [("lr, times", 1.0, new["lr"]), *rows]


def _lengths(given: dict[str, float], old: int, new: int, context: int) -> list[tuple[str, Any, Any]]:
    """Warm-up and run in steps; as many samples."""
    from thalweg.schedules.scaled import scaled_steps

    rows = [
        (name, given[name], scaled_steps(int(given[name]), new / old)) for name in ("warmup", "steps") if name in given
    ]
    if "tokens" in given:
        before, after = (max(1, round(given["tokens"] / (batch * context))) for batch in (old, new))
        rows.append(("steps for the tokens", before, after))
    return [(f"{name}, in steps" if name == "warmup" else name, before, after) for name, before, after in rows]


def _changes(old: Recipe, new: Recipe) -> list[tuple[str, Any, Any]]:
    from thalweg.optim import defaults

    before, after = defaults(old.optimizer["name"]) | old.optimizer, new.optimizer
    top = [(name, getattr(old, name), getattr(new, name)) for name in ("steps", "accumulate", "schedule", "ema")]
    inner = [
        (f"optimizer.{key}", before[key], after[key])
        for key in ("betas", "beta", "eps", "weight_decay")
        if key in after
    ]
    plans = [
        (f"{part}.every", getattr(old, part).every, getattr(new, part).every) for part in ("evaluation", "checkpoint")
    ]
    plans.append(("checkpoint.at", old.checkpoint.at, new.checkpoint.at))
    return [row for row in (*top, *inner, *plans) if row[1] or row[2]]


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_text(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
