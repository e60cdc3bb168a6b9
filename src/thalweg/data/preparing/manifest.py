"""What a prepared folder says of itself: provenance, steps with their parameters and counts, shards with their hashes.

Nothing in it depends on when, where and with which engine the folder was made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from thalweg.data.preparing.batches import Bad
from thalweg.data.preparing.config import Preparation
from thalweg.data.preparing.duplicates import Resolution
from thalweg.data.preparing.pieces import Source
from thalweg.data.preparing.staging import BAD_PLACES
from thalweg.data.tokens import Tokenizer

__all__ = ["make_manifest"]

FORMAT = "thalweg-prepared"
VERSION = 1
REASONS = 50
"""Reasons that a step lists one by one, the commonest; test items may be many."""


def make_manifest(
    preparation: Preparation,
    fingerprint: str,
    sources: Sequence[Source],
    digests: Sequence[Mapping[str, Any]],
    counts: Sequence[Mapping[str, Any]],
    bad: Sequence[Bad],
    resolution: Resolution,
    written: Sequence[Mapping[str, Any]],
    tokenizer: Tokenizer | None,
) -> dict[str, Any]:
    """The manifest as plain values.

    Args:
        preparation: what was done.
        fingerprint: of inputs and steps.
        sources: what was read.
        digests: their hashes and sizes.
        counts: of each part's first pass.
        bad: files that could not be opened.
        resolution: of the comparison of all documents.
        written: what the second pass says of each part.
        tokenizer: that was used, or None.
    """
    settings = preparation.to_dict()
    broken = Counter(each.reason for each in bad)
    for each in counts:
        broken.update(each["bad"]["counts"])
    places = [each.message for each in bad] + [place for each in counts for place in each["bad"]["places"]]
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "fingerprint": fingerprint,
        "documents": sum(each["documents"] for each in written),
        "bytes": sum(each["bytes"] for each in written),
        "tokens": sum(each.get("tokens", 0) for each in written),
        "scores": list(preparation.score_names),
        "inputs": [
            {
                "source": preparation.inputs[source.input].name,
                "name": source.name,
                "path": preparation.inputs[source.input].path,
                "kind": source.kind,
                **known,
            }
            for source, known in zip(sources, digests, strict=True)
        ],
        "preparation": settings,
        "steps": _steps(preparation, counts, resolution),
        "unreadable": {"count": sum(broken.values()), "reasons": dict(broken), "places": places[:BAD_PLACES]},
        "tokenizer": None,
        "parts": [{key: each[key] for key in ("name", "documents", "bytes", "documents_sha256")} for each in written],
        "shards": [],
    }
    if tokenizer is not None:
        end = preparation.tokens.end if preparation.tokens is not None and tokenizer.name != "byte" else ""
        manifest["tokenizer"] = {
            "name": tokenizer.name,
            "vocab_size": tokenizer.vocab_size,
            "end": tokenizer.end,
            "end_text": end,
            "fingerprint": tokenizer.fingerprint,
        }
        named = ("name", "documents", "tokens", "sha256", "columns_sha256")
        manifest["shards"] = [{key: each[key] for key in named} for each in written]
    return manifest


def _steps(
    preparation: Preparation, counts: Sequence[Mapping[str, Any]], resolution: Resolution
) -> list[dict[str, Any]]:
    """Documents and bytes before and after each step, and why documents were removed."""
    documents, size = (sum(each[key] for each in counts) for key in ("documents", "bytes"))
    steps = [{"step": "read", "documents": documents, "bytes": size}]
    for number in range(len(counts[0]["steps"])):
        removed: Counter[str] = Counter()
        for each in counts:
            removed.update(each["steps"][number]["removed"])
        sums = {
            key: sum(each["steps"][number][key] for each in counts)
            for key in ("documents_in", "documents", "bytes_in", "bytes")
        }
        step = {"step": counts[0]["steps"][number]["step"], **sums, "removed": dict(removed.most_common(REASONS))}
        if len(removed) > REASONS:
            step["reasons"] = len(removed)
        steps.append(step)
    for name, asked, report in (
        ("exact", preparation.exact, resolution.exact),
        ("minhash", preparation.minhash, resolution.near),
    ):
        if asked is not None and report is not None:
            before = steps[-1]
            gone = before["documents"] - report["documents"]
            sums = {"documents_in": before["documents"], "bytes_in": before["bytes"]}
            steps.append({"step": name, **sums, **report, "removed": {"duplicate": gone} if gone else {}})
    return steps
