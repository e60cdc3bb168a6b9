"""thalweg plan: the training configuration of least predicted loss for a budget."""

from __future__ import annotations

from pathlib import Path

__all__ = ["plan"]


def plan(
    law: Path,
    /,
    *,
    budget: float,
    tune: str,
    config: str = "",
    json: bool = False,
) -> None:
    """Search the configuration of least predicted loss, and show what straying from it costs.

    Parameters
    ----------
    law
        A configuration law saved by `thalweg fit --law configuration --out`.
    budget
        Training FLOPs 6 N D, e.g. 1e20.
    tune
        Fields to choose, with commas, e.g. lr,batch,weight_decay; params too where --config has neither params nor
        tokens.
    config
        Fields that stand, e.g. optimizer=adamw,params=520M
    json
        Print one JSON object.
    """
    from dataclasses import asdict

    from thalweg.cli.configuration import say_beyond, value_text
    from thalweg.cli.output import emit, table
    from thalweg.laws.configuration import ConfigurationLaw, parse_config
    from thalweg.laws.configuration import plan as search
    from thalweg.laws.configuration.fields import field_of

    names = [field_of(name)[0] for name in filter(None, map(str.strip, tune.split(",")))]
    found = search(ConfigurationLaw.load(law), budget=budget, tune=names, fixed=parse_config(config))
    if json:
        emit("plan", asdict(found) | {"budget": budget})
        return
    table(
        ("predicted loss", "90 % interval", "Chinchilla law alone", "tried"),
        [
            (
                f"{found.loss:.4f} nats/token",
                f"{found.low:.4f} to {found.high:.4f}",
                f"{found.baseline:.4f}",
                found.tried,
            )
        ],
    )
    print(f"configuration: {value_text(found.config)}")
    for name, choices in found.trade_offs.items():
        print()
        rows = [
            (value_text(c.value), f"{c.loss:.4f}", f"{c.loss - found.loss:+.4f}", f"{c.low:.4f} to {c.high:.4f}")
            for c in choices
        ]
        table((name, "predicted loss", "above the plan", "90 % interval"), rows)
    say_beyond(found.beyond)
