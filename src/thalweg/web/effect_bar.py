"""An effect drawn against its threshold: a dot, one standard error thick, two thin, and a mark for what was demanded.

Two standard errors decide (``studies.base.decide``): the claim's demand is met where the thin bar clears the mark.
"""

from __future__ import annotations

import math

from markupsafe import Markup

from thalweg.web.svg import Panel, picture, text
from thalweg.web.words import significant

__all__ = ["alone", "effect_bar", "remark"]

WIDTH, HEIGHT, MIDDLE = 320.0, 40.0, 12.0
ERRORS = 2.0


def alone(effect: float, error: float | None, threshold: float) -> str:
    """What the common rule would say of this effect by itself."""
    if not error or not math.isfinite(error):
        return "inconclusive"
    if effect - ERRORS * error > threshold:
        return "reproduced"
    return "not reproduced" if effect + ERRORS * error < threshold else "inconclusive"


def remark(effect: float | None, error: float | None, threshold: float | None, verdict: str) -> str:
    """What the bar does not show: demands of the rule besides this effect; empty where it shows all."""
    if effect is None:
        return ""
    if threshold is None:
        return "The rule demands other numbers; this one is reported beside them."
    if alone(effect, error, threshold) != verdict:
        return "The rule makes other demands too, and they decide."
    return ""


def effect_bar(effect: float | None, error: float | None, threshold: float | None, label: str) -> Markup:
    """The drawing as inline SVG, coloured by the verdict's class around it; empty without an effect.

    Args:
        effect: in the unit of the claim.
        error: its standard error; None where one seed leaves it unknown.
        threshold: what the rule demands of it; None draws zero instead.
        label: says effect, error and threshold to those who cannot see the drawing.
    """
    if effect is None or not math.isfinite(effect):
        return Markup("")
    spread = ERRORS * error if error and math.isfinite(error) else 0.0
    mark = 0.0 if threshold is None else threshold
    low, high = min(mark, effect - spread), max(mark, effect + spread)
    room = 0.12 * (high - low or abs(high) or 1.0)
    panel = Panel(6, 0, WIDTH - 12, HEIGHT, (low - room, high + room), (0.0, 1.0))
    at, centre = panel.px, f"{MIDDLE:g}"
    parts = [f'<path class="axis" d="M0 {centre}H{WIDTH - 12:g}"/>']
    parts.append(
        f'<path class="{"goal" if threshold is not None else "zero"}" d="M{at(mark):.1f} 2V{2 * MIDDLE - 2:g}"/>'
    )
    if spread:
        parts.append(f'<path class="whisker" d="M{at(effect - spread):.1f} {centre}H{at(effect + spread):.1f}"/>')
        half = spread / ERRORS
        parts.append(f'<path class="error" d="M{at(effect - half):.1f} {centre}H{at(effect + half):.1f}"/>')
    parts.append(f'<circle class="effect" cx="{at(effect):.1f}" cy="{centre}" r="5"/>')
    said = "0" if threshold is None else f"threshold {significant(threshold, 3)}"
    anchor = "start" if at(mark) < 60 else "end" if at(mark) > WIDTH - 72 else "middle"
    drawn = f'<svg x="6" overflow="visible">{"".join(parts)}</svg>'
    drawn += text(6 + at(mark), HEIGHT - 3, said, "tick", anchor)
    return Markup(picture(WIDTH, HEIGHT, label, [drawn], "chart effect-bar"))
