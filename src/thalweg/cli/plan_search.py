"""thalweg plan LAW --budget --tune: the configuration of least predicted loss of one configuration law."""

from __future__ import annotations

from pathlib import Path

__all__ = ["search"]


def search(law: Path, budget: float, tune: str, config: str, json: bool) -> None:
    """Searches the fields named in ``tune`` and prints what straying from the best costs."""
    from dataclasses import asdict

    from thalweg.cli.configuration import say_beyond, value_text
    from thalweg.cli.output import emit, table
    from thalweg.laws.configuration import ConfigurationLaw, parse_config
    from thalweg.laws.configuration import plan as best_configuration
    from thalweg.laws.configuration.fields import field_of

    names = [field_of(name)[0] for name in filter(None, map(str.strip, tune.split(",")))]
    found = best_configuration(ConfigurationLaw.load(law), budget=budget, tune=names, fixed=parse_config(config))
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
            (
                value_text(c.value),
                f"{c.loss:.4f}",
                f"{round(c.loss - found.loss, 4) + 0.0:+.4f}",
                f"{c.low:.4f} to {c.high:.4f}",
            )
            for c in choices
        ]
        table((name, "predicted loss", "above the plan", "90 % interval"), rows)
    say_beyond(found.beyond)
