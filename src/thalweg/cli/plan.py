"""thalweg plan: from a budget to the training run of least predicted loss."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from thalweg.laws.budget import OwnLaws

__all__ = ["plan"]


def plan(
    laws: list[Path] | None = None,
    /,
    *,
    budget: str | None = None,
    gpu_hours: float | None = None,
    gpu: str | None = None,
    mfu: float = 0.4,
    price: float | None = None,
    params: str | None = None,
    tokens: str | None = None,
    tokens_at_most: str | None = None,
    data_tokens: str | None = None,
    epochs_at_most: float | None = None,
    overtrain: float = 1.0,
    context: int = 2048,
    schedule: Literal["cosine", "wsd", "designed"] = "cosine",
    published: Literal["besiroglu", "hoffmann"] = "besiroglu",
    out: Path | None = None,
    tune: str = "",
    config: str = "",
    json: bool = False,
) -> None:
    """Plan a run: model size, tokens, batch, learning rate, schedule and epochs for a budget, and what each costs.

    Without laws it rests on published ones and says so. With --tune it searches one configuration law.

    Parameters
    ----------
    laws
        Own laws (.json: chinchilla-size, configuration, reuse, or of curves) and tables (.csv: columns params, tokens,
        loss of runs; or params, tokens, lr and batch, the best values of a sweep at each size).
    budget
        Training FLOPs 6 N D, e.g. 1e20.
    gpu_hours
        Device hours instead of FLOPs; needs --gpu.
    gpu
        Device whose dense bf16 peak counts, e.g. a100, h100, h200, rtx-4090; also tells hours and memory.
    mfu
        Share of that peak that is reached.
    price
        Of a GPU hour, to tell the cost.
    params
        Model size that stands, e.g. 1B.
    tokens
        Tokens that stand, repetitions counted, e.g. 20B.
    tokens_at_most
        Limit on the tokens, repetitions counted.
    data_tokens
        Unique tokens at hand; beyond them epochs repeat.
    epochs_at_most
        Limit on the epochs over them.
    overtrain
        Tokens a parameter as a multiple of the best split's, for a smaller model that is cheaper to use.
    context
        Tokens a sequence.
    schedule
        Shape: cosine (what the published rates were tuned with), wsd, or designed (needs a law of curves).
    published
        Law of size and data where none is given: the refit of Chinchilla's, or its original third approach.
    out
        Write the lines of a recipe (.toml) here.
    tune
        Fields that one configuration law chooses, with commas, e.g. lr,batch,weight_decay.
    config
        With --tune: fields that stand, e.g. optimizer=adamw,params=520M
    json
        Print one JSON object.
    """
    from thalweg.errors import InputError
    from thalweg.laws.budget import Budget, Constraints, parse_quantity, plan_run

    if tune or config:
        from thalweg.cli.plan_search import search

        if laws is None or len(laws) != 1 or budget is None:
            raise InputError("--tune and --config search one configuration law for a --budget: give both")
        search(laws[0], parse_quantity(budget, "--budget"), tune, config, json)
        return
    amounts = {"--budget": budget, "--params": params, "--tokens": tokens, "--tokens-at-most": tokens_at_most}
    amounts |= {"--data-tokens": data_tokens}
    given = {name: None if text is None else parse_quantity(text, name) for name, text in amounts.items()}
    bought = Budget.of(flops=given["--budget"], gpu_hours=gpu_hours, device=gpu, mfu=mfu, price=price)
    stands = Constraints(
        given["--params"], given["--tokens"], given["--tokens-at-most"], epochs_at_most, overtrain
    )  # fmt: skip
    found = plan_run(
        bought, stands, unique=given["--data-tokens"], own=_own(laws or [], context), sizes=published, context=context,
        shape=schedule,
    )  # fmt: skip
    if out is not None:
        from thalweg.files import write_atomic
        from thalweg.laws.budget.export import recipe_toml

        write_atomic(out, recipe_toml(found))
    if json:
        from thalweg.cli.output import emit
        from thalweg.laws.budget.export import plan_dict

        emit("plan", plan_dict(found) | {"published_only": not laws})
        return
    from thalweg.cli.plan_print import say

    say(found, mfu=mfu, device=gpu, published_only=not laws)
    if out is not None:
        print(f"wrote {out}")


def _own(files: list[Path], context: int) -> OwnLaws:
    """The laws of the files, joined."""
    from thalweg.errors import InputError
    from thalweg.laws.budget import OwnLaws, read_law
    from thalweg.laws.budget.own import read_table

    found = OwnLaws()
    for path in files:
        if path.suffix.lower() == ".csv":
            more = read_table(_text(path), f"table {str(path)!r}", context)
        else:
            more = read_law(_text(path), str(path), weights=path.with_suffix(".safetensors"))
        try:
            found = found.joined(more)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    return found


def _text(path: Path) -> str:
    from thalweg.errors import InputError

    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: give a saved law (.json) or a table (.csv)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text ({error}): give a saved law or a table") from None
