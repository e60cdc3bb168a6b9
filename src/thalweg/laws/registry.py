"""Every law over schedules, by the name that recipes and the command line use."""

from __future__ import annotations

from thalweg.laws.chinchilla_steps import ChinchillaSteps
from thalweg.laws.law import Law
from thalweg.laws.momentum import MomentumLaw
from thalweg.laws.multi_power import MultiPower
from thalweg.laws.one_power import OnePower

__all__ = ["LAWS"]

LAWS: dict[str, type[Law]] = {law.name: law for law in (MultiPower, MomentumLaw, OnePower, ChinchillaSteps)}
