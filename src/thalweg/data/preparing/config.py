"""What a preparation does, as frozen dataclasses that are read from TOML."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from thalweg.data.preparing.statistics import PRESETS, STATISTICS
from thalweg.errors import InputError, suggest
from thalweg.toml import check_keys, from_document, plain, read_toml

__all__ = [
    "Decontaminate", "Exact", "Filters", "Input", "MinHash", "Normalise", "Preparation", "Score", "Tokens",
    "load_preparation",
]  # fmt: skip

OWN_COLUMNS = ("id", "text", "source", "domain", "duplicates")


@dataclass(frozen=True, slots=True)
class Input:
    """Documents to read.

    Args:
        path: a file, a folder (searched for files of the format), a name of CORPORA, or ``dataset:NAME`` for a
            ``datasets.Dataset`` handed to ``prepare``.
        source: name of the source; empty takes the last part of the path.
        format: ``auto`` goes by the suffix.
        text: key or column of the text.
        id: key or column of the document's id; empty makes ids of source, file and place.
        domain: key or column of the domain, or, with ``=`` in front, one domain for all; empty takes the source.
        scores: keys or columns of numbers that are kept.
        split: of a corpus or of a saved ``DatasetDict``; empty takes all of a corpus.
    """

    path: str
    source: str = ""
    format: Literal["auto", "text", "jsonl", "parquet", "datasets", "corpus"] = "auto"
    text: str = "text"
    id: str = ""
    domain: str = ""
    scores: tuple[str, ...] = ()
    split: str = ""

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source or Path(self.path.removeprefix("dataset:")).name.split(".")[0] or "data"


@dataclass(frozen=True, slots=True)
class Normalise:
    """How texts are rewritten; control characters other than tab and newline are taken out in every case.

    Args:
        unicode: normal form, or ``none``.
        whitespace: ``lines`` trims the ends of lines and of the text and keeps at most one empty line in a row;
            ``collapse`` makes every run of white space one space; ``keep`` changes line ends only.
    """

    unicode: Literal["NFC", "NFKC", "none"] = "NFC"
    whitespace: Literal["lines", "collapse", "keep"] = "lines"


@dataclass(frozen=True, slots=True)
class Filters:
    """Which documents are removed for their statistics.

    Args:
        preset: a named set of limits (PRESETS).
        limits: statistic (STATISTICS) -> [low, high]; a value outside removes the document; over the preset.
    """

    preset: str = "none"
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise InputError(f"filters.preset = {self.preset!r} is not known: {suggest(self.preset, PRESETS)}")
        for name, (low, high) in self.limits.items():
            if name not in STATISTICS:
                raise InputError(f"filters.limits has no statistic {name!r}: {suggest(name, STATISTICS)}")
            if not low <= high:
                raise InputError(f"filters.limits.{name} = [{low}, {high}]: the first must not exceed the second")

    def all_limits(self) -> dict[str, tuple[float, float]]:
        """The preset's limits with the own ones over them."""
        return {**PRESETS[self.preset], **self.limits}


@dataclass(frozen=True, slots=True)
class Score:
    """A number about every document; exactly one of statistic, model, positive with negative, and function.

    Args:
        name: of the column.
        statistic: an entry of STATISTICS.
        model: file of a saved ``TextClassifier``.
        positive: files or folders of wanted texts; with ``negative`` a classifier is trained on them first.
        negative: files or folders of texts as they come.
        function: ``package.module:name`` of a function from a list of texts to as many numbers.
        minimum: documents below are removed, for the reason ``name``.
    """

    name: str
    statistic: str = ""
    model: str = ""
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    function: str = ""
    minimum: float | None = None

    def __post_init__(self) -> None:
        if not self.name or self.name in OWN_COLUMNS:
            raise InputError(f"scores.name = {self.name!r} is taken or empty: choose another name")
        if bool(self.positive) != bool(self.negative):
            raise InputError(f"score {self.name!r}: positive and negative belong together")
        if sum(map(bool, (self.statistic, self.model, self.positive, self.function))) != 1:
            raise InputError(f"score {self.name!r}: give one of statistic, model, positive with negative, and function")
        if self.statistic and self.statistic not in STATISTICS:
            raise InputError(
                f"score {self.name!r}: no statistic {self.statistic!r}: {suggest(self.statistic, STATISTICS)}"
            )
        if self.function and ":" not in self.function:
            raise InputError(f"score {self.name!r}: function = {self.function!r} should read package.module:name")


@dataclass(frozen=True, slots=True)
class Exact:
    """Removal of equal texts: SHA-1 after NFC with every run of white space as one space.

    Args:
        within: ``source`` compares documents of one source, ``all`` compares all.
    """

    within: Literal["source", "all"] = "source"


@dataclass(frozen=True, slots=True)
class MinHash:
    """Removal of near-duplicates; see ``MinHasher`` for the first four.

    Args:
        threshold: Jaccard similarity, in (0, 1).
        permutations: hash functions at most.
        words: words in a shingle.
        seed: of the hash functions.
        within: ``source`` compares documents of one source, ``all`` compares all.
        confirm: keep only those edges whose exact Jaccard similarity reaches the threshold.
        check: candidate pairs whose exact similarity is reported; 0 for none.
    """

    threshold: float = 0.7
    permutations: int = 128
    words: int = 5
    seed: int = 1234
    within: Literal["source", "all"] = "source"
    confirm: bool = False
    check: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise InputError(f"minhash.threshold = {self.threshold} must lie between 0 and 1")
        if not 1 <= self.permutations <= 1024:
            raise InputError(f"minhash.permutations = {self.permutations} must be 1 to 1024")
        if self.words < 1 or self.check < 0 or not 0 <= self.seed < 2**32:
            raise InputError(
                f"minhash.words = {self.words} must be at least 1, check = {self.check} at least 0, "
                f"seed = {self.seed} from 0 to 2^32 - 1"
            )


@dataclass(frozen=True, slots=True)
class Decontaminate:
    """Removal of documents that hold parts of test items.

    Args:
        tests: files or folders of test items: JSON lines (one item a line), Parquet, or texts (one item a file).
        words: words in a run that counts as an overlap.
        share: least share of a test item's runs; 0 takes any overlap.
        text: key or column of the items' text.
    """

    tests: tuple[str, ...]
    words: int = 13
    share: float = 0.0
    text: str = "text"

    def __post_init__(self) -> None:
        if not self.tests or self.words < 1 or not 0 <= self.share <= 1:
            raise InputError(
                f"decontaminate: tests = {list(self.tests)} must name files, words = {self.words} be at least 1, "
                f"share = {self.share} lie in [0, 1]"
            )


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokenisation.

    Args:
        tokenizer: ``byte``, ``bpe:SIZE`` (trained on the prepared documents) or the path of a tokenizer.json.
        end: for a path: its end-of-document token.
        train_mb: megabytes of text, picked by the hash of the id, that ``bpe:SIZE`` is trained on.
    """

    tokenizer: str = "byte"
    end: str = "<|end|>"
    train_mb: float = 100.0

    def __post_init__(self) -> None:
        size = self.tokenizer.removeprefix("bpe:")
        if self.tokenizer.startswith("bpe") and not (size.isdecimal() and int(size) >= 257):
            raise InputError(f"tokens.tokenizer = {self.tokenizer!r}: write bpe:SIZE with a size of at least 257")
        if not self.train_mb > 0:
            raise InputError(f"tokens.train_mb = {self.train_mb} must be above 0")


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What ``prepare`` does. A step that is absent is left out; present ones run in this order.

    Args:
        inputs: what is read.
        normalise: how texts are rewritten.
        filters: removal by rules.
        decontaminate: removal of documents that hold test items.
        scores: numbers about every document.
        exact: removal of equal texts.
        minhash: removal of near-duplicates.
        tokens: tokenisation.
        on_bad: ``stop`` at input that cannot be read, or ``skip`` and count it.
        part_mb: megabytes of input that are worked on, kept and written together.

    Raises:
        InputError: a value out of range, or two scores of one name.
    """

    inputs: tuple[Input, ...]
    normalise: Normalise | None = None
    filters: Filters | None = None
    decontaminate: Decontaminate | None = None
    scores: tuple[Score, ...] = ()
    exact: Exact | None = None
    minhash: MinHash | None = None
    tokens: Tokens | None = None
    on_bad: Literal["stop", "skip"] = "stop"
    part_mb: float = 64.0

    def __post_init__(self) -> None:
        if not self.inputs:
            raise InputError('inputs is empty: name what to read, for example [[inputs]] path = "texts"')
        if not self.part_mb > 0:
            raise InputError(f"part_mb = {self.part_mb} must be above 0")
        names = [*self.read_scores, *(score.name for score in self.scores)]
        for name in names:
            if names.count(name) > 1 or name in OWN_COLUMNS:
                raise InputError(f"the score column {name!r} is made twice or has a taken name: rename it")

    @cached_property
    def read_scores(self) -> tuple[str, ...]:
        """Score columns that come from the inputs; a source without one of them has nan there."""
        return tuple(dict.fromkeys(name for each in self.inputs for name in each.scores))

    @cached_property
    def score_names(self) -> tuple[str, ...]:
        """All score columns, read ones first."""
        return (*self.read_scores, *(score.name for score in self.scores))

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers."""
        return plain({f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Preparation:
        """Builds and checks a preparation.

        Raises:
            InputError: an unknown key (the nearest is named), a wrong type, a value out of range.
        """
        check_keys(cls, document)
        return from_document(cls, document, what="preparation")


def load_preparation(path: str | Path) -> Preparation:
    """Reads a preparation from a TOML file; relative paths are taken from the current folder.

    Raises:
        InputError: no such file, not TOML, or see ``Preparation.from_dict``.
    """
    document = read_toml(path, "preparation")
    try:
        return Preparation.from_dict(document)
    except InputError as error:
        raise InputError(f"preparation {path}: {error}") from None
