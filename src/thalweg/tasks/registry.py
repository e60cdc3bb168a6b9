"""The sequence tasks by name."""

from __future__ import annotations

from thalweg.tasks.a5 import A5
from thalweg.tasks.assoc_recall import AssociativeRecall
from thalweg.tasks.cgram import CGram
from thalweg.tasks.counting import Counting
from thalweg.tasks.dyck import BoundedDyck
from thalweg.tasks.flip_flop import FlipFlop
from thalweg.tasks.hidden_operations import HiddenOperations
from thalweg.tasks.index import Index
from thalweg.tasks.istree import IsTree
from thalweg.tasks.modular_arithmetic import ModularArithmetic
from thalweg.tasks.multihop import MultihopQuestions
from thalweg.tasks.n_back import NBackRecall
from thalweg.tasks.sign_composition import SignComposition
from thalweg.tasks.skill_chains import SkillChains
from thalweg.tasks.sparse_parity import SparseParity
from thalweg.tasks.state_tracking import StateTracking
from thalweg.tasks.translation import Translation

__all__ = ["TASKS"]

TASKS: dict[str, type] = {
    "a5": A5,
    "assoc_recall": AssociativeRecall,
    "cgram": CGram,
    "counting": Counting,
    "dyck": BoundedDyck,
    "flip_flop": FlipFlop,
    "hidden_operations": HiddenOperations,
    "index": Index,
    "istree": IsTree,
    "modular_arithmetic": ModularArithmetic,
    "multihop": MultihopQuestions,
    "n_back": NBackRecall,
    "sign_composition": SignComposition,
    "skill_chains": SkillChains,
    "sparse_parity": SparseParity,
    "state_tracking": StateTracking,
    "translation": Translation,
}
"""Classes by name; each makes a ``thalweg.tasks.Task`` without arguments."""
