"""Synthetic tasks with exact answers and toy problems with known optima."""

from __future__ import annotations

from thalweg.tasks.a5 import A5
from thalweg.tasks.assoc_recall import AssociativeRecall
from thalweg.tasks.associative_memory import AssociativeMemory
from thalweg.tasks.base import IGNORE, Task, TaskBatch
from thalweg.tasks.bigram import BigramLanguage, ClassMeans
from thalweg.tasks.biographies import Biographies, Probe
from thalweg.tasks.cgram import CGram
from thalweg.tasks.compositions import CompositionFamily, d_log_d
from thalweg.tasks.counting import Counting
from thalweg.tasks.curriculum_quadratic import CurriculumQuadratic
from thalweg.tasks.diagonal_network import DiagonalNetwork
from thalweg.tasks.digits import Digits, digits
from thalweg.tasks.dyck import BoundedDyck, Brackets
from thalweg.tasks.flattest import generalizing, least_trace, memorizing
from thalweg.tasks.flip_flop import IGNORE_PROBABILITIES, FlipFlop
from thalweg.tasks.hidden_operations import HiddenOperations
from thalweg.tasks.hypercube_xor import HypercubeXor
from thalweg.tasks.index import Index
from thalweg.tasks.istree import IsTree
from thalweg.tasks.istree_reasoning import look_up
from thalweg.tasks.markov_domains import MarkovDomains
from thalweg.tasks.mixture import Mixture
from thalweg.tasks.modular_arithmetic import ModularArithmetic
from thalweg.tasks.multihop import MultihopQuestions
from thalweg.tasks.n_back import NBackRecall
from thalweg.tasks.noisy_quadratic import NoisyQuadratic
from thalweg.tasks.normalized_regression import NormalizedRegression
from thalweg.tasks.progressive_linear import ProgressiveLinear
from thalweg.tasks.random_features import BiasedRecipes
from thalweg.tasks.random_teacher import RandomTeacher
from thalweg.tasks.registry import TASKS
from thalweg.tasks.regression_mixture import RegressionMixture
from thalweg.tasks.repeated_regression import RepeatedRegression
from thalweg.tasks.rescaling import Rescaling
from thalweg.tasks.retrieval import Retriever, retrieve, retrieve_ids
from thalweg.tasks.river_valley import RiverValley, ValleyMeans
from thalweg.tasks.sign_composition import SignComposition, SignTrace
from thalweg.tasks.skill_chains import SkillChains
from thalweg.tasks.skills import SkillLaw
from thalweg.tasks.sparse_parity import SparseParity
from thalweg.tasks.state_tracking import StateTracking
from thalweg.tasks.translation import Translation
from thalweg.tasks.two_layer import TwoLayer
from thalweg.tasks.unit_product import UnitProduct
from thalweg.tasks.zipf_regression import ZipfRegression

__all__ = [
    "A5",
    "IGNORE",
    "IGNORE_PROBABILITIES",
    "TASKS",
    "AssociativeMemory",
    "AssociativeRecall",
    "BiasedRecipes",
    "BigramLanguage",
    "Biographies",
    "BoundedDyck",
    "Brackets",
    "CGram",
    "ClassMeans",
    "CompositionFamily",
    "Counting",
    "CurriculumQuadratic",
    "DiagonalNetwork",
    "Digits",
    "FlipFlop",
    "HiddenOperations",
    "HypercubeXor",
    "Index",
    "IsTree",
    "MarkovDomains",
    "Mixture",
    "ModularArithmetic",
    "MultihopQuestions",
    "NBackRecall",
    "NoisyQuadratic",
    "NormalizedRegression",
    "Probe",
    "ProgressiveLinear",
    "RandomTeacher",
    "RegressionMixture",
    "RepeatedRegression",
    "Rescaling",
    "Retriever",
    "RiverValley",
    "SignComposition",
    "SignTrace",
    "SkillChains",
    "SkillLaw",
    "SparseParity",
    "StateTracking",
    "Task",
    "TaskBatch",
    "Translation",
    "TwoLayer",
    "UnitProduct",
    "ValleyMeans",
    "ZipfRegression",
    "d_log_d",
    "digits",
    "generalizing",
    "least_trace",
    "look_up",
    "memorizing",
    "retrieve",
    "retrieve_ids",
]
