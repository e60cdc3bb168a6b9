"""thalweg data: what is trained on, how often and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

if TYPE_CHECKING:
    from thalweg.data.plan import Order

__all__ = ["app"]

app = App(name="data", help="Data: prepare it, plan what is read how often and in which order, look into a plan.")

app.command("thalweg.cli.data_prepare:prepare", name="prepare", help="Documents in, tokens out: clean, score, dedup.")
app.command(
    "thalweg.cli.data_benchmark:benchmark",
    name="benchmark",
    help="What a quality score is worth: reference runs on slices of a corpus.",
)
app.command("thalweg.cli.data_mix:mix", name="mix", help="Training shares of least test loss, from learning curves.")
app.command(
    "thalweg.cli.data_reuse:reuse", name="reuse", help="How many epochs pay, from runs or the published constant."
)
app.command(
    "thalweg.cli.data_threshold:threshold",
    name="threshold",
    help="Whether a model learns a rare source, and what lifts it if not.",
)


@app.command
def plan(
    file: Path, /, *, dry_run: bool = False, verify: bool = False, plot: Path | None = None, json: bool = False
) -> None:
    """Check a data plan and print what it delivers: rows, tokens, epochs, domains, times each quality decile is seen.

    Parameters
    ----------
    file
        The plan (TOML).
    dry_run
        Only count; otherwise the first and the last window of every phase are read too, so that the files must deliver.
    verify
        Read all files and compare their SHA-256.
    plot
        Draw how often each decile is seen in each phase (.png, .svg or .pdf).
    json
        Print one JSON object.
    """
    import numpy as np

    from thalweg.cli import figures
    from thalweg.cli.output import emit
    from thalweg.data.plan import Order, load_plan, read_rows
    from thalweg.data.plan.ledger import ledger

    figures.check(plot)
    order = Order(load_plan(file), verify=verify)
    account = ledger(order)
    if not dry_run:
        ends = [(s.first, s.first + s.windows - 1) for s in order.stretches if s.windows]
        read_rows(order, np.unique(np.clip(ends, 0, len(order) - 1)))
    if plot is not None:
        from thalweg.data.plan import plot_ledger

        figures.save(plot_ledger(account), plot)
    if json:
        emit("data plan", {"plan": str(file), "fingerprint": order.fingerprint, **account})
        return
    _print(account, order)


def _print(account: dict[str, Any], order: Order) -> None:
    from thalweg.cli.output import table

    rows = [
        (
            phase["name"],
            each["source"],
            phase["order"],
            f"{each['documents']:,}",
            f"{each['rows']:,}",
            f"{each['tokens']:,}",
            f"{each['share']:.2%}",
            f"{each['epochs']:.3g}",
        )
        for phase in account["phases"]
        for each in phase["sources"]
    ]
    table(("phase", "source", "order", "documents", "rows", "tokens", "share", "epochs"), rows)
    print()
    domains = order.library.domains[0]
    names = [phase["name"] for phase in account["phases"]]
    shares = [(domain, *(f"{phase['domains'][domain]:.2%}" for phase in account["phases"])) for domain in domains]
    table(("domain", *names), shares)
    for name, source in account["sources"].items():
        if source["deciles"]:
            print()
            cells = [
                (k + 1, *(f"{times:.2f}" for times in row), f"{sum(row):.2f}")
                for k, row in enumerate(source["deciles"])
            ]
            unscored = f", {source['unscored']:,} without a score count as the worst" if source["unscored"] else ""
            table(
                ("decile", *names, "all"), cells, title=f"{name}: times each decile is seen (1 is the best{unscored})"
            )
    skipped = f", {account['skipped']} skipped" if account["skipped"] else ""
    print(f"\n{account['windows']:,} windows of {order.plan.context} tokens: {account['tokens']:,} tokens{skipped}")
    print(f"fingerprint {order.fingerprint}")


@app.command
def inspect(
    file: Path,
    /,
    *,
    step: int = 0,
    batch: int = 8,
    find: str | None = None,
    characters: int = 160,
    json: bool = False,
) -> None:
    """Print the very documents of a batch, or when a text is seen.

    Parameters
    ----------
    file
        The plan (TOML).
    step
        Number of the batch, from 0.
    batch
        Windows of a batch, as in the recipe.
    find
        Say in which batches documents with this text come (in the decoded text; else, an id).
    characters
        Of each document's text that are printed.
    json
        Print one JSON object.
    """
    from thalweg.cli.output import emit, table
    from thalweg.data.plan import Order, load_plan
    from thalweg.data.plan.look import find_text, look

    order = Order(load_plan(file))
    if find is not None:
        seen = find_text(order, find, batch=batch)
        if json:
            emit("data inspect", {"plan": str(file), "find": find, "batch": batch, "found": seen})
            return
        rows = [(each["id"], each["source"], each["times"], _steps(each["steps"])) for each in seen]
        table(("document", "source", "times", "steps"), rows, title=f"{len(seen)} documents with {find!r}")
        return
    found = look(order, step, batch=batch, characters=characters)
    if json:
        emit("data inspect", {"plan": str(file), "step": step, "batch": batch, "pieces": found})
        return
    rows = [
        (each["window"], each["phase"], each["source"], each["id"], f"{each['start']}+{each['tokens']}", each["text"])
        for each in found
    ]
    table(("window", "phase", "source", "document", "tokens", "text"), rows, title=f"step {step}, {batch} windows")


def _steps(steps: list[int], shown: int = 8) -> str:
    return ", ".join(map(str, steps[:shown])) + (f", … ({len(steps)} in all)" if len(steps) > shown else "")
