"""Preparation beside its peers, in turn in one process: near-duplicates against datatrove, tokens against tokenizers.

``python benchmarks/data_prepare.py --json FILE``: the corpora plays and kjv in pieces of 3,000 characters, a tenth of
them twice. Whole runs from JSON lines to what is left (datatrove's four stages with one task each, as its example
orders them), with datatrove's own word splitter (spaCy) and with splitting at white space in its place; then the
signatures alone; then byte-pair encoding to a shard beside ``Tokenizer.encode_batch`` on the same batches. datatrove is
optional; its rows are left out without it. One process each, one thread; seconds are the processor's, which other work
on the machine does not stretch, and do not hold waiting for the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "DATATROVE_COLORIZE_LOGS": "0"}

CHARACTERS = 3000


def pieces() -> list[str]:
    """The corpora in pieces, every tenth piece twice."""
    from thalweg.data import corpus

    text = "\n".join(document.text for document in corpus("mini").documents)
    cut = [text[i : i + CHARACTERS] for i in range(0, len(text), CHARACTERS)]
    return [piece for i, piece in enumerate(cut) for _ in range(2 if i % 10 == 0 else 1)]


def ours(lines: Path, work: Path) -> int:
    """Documents left by ``prepare`` with MinHash alone."""
    from thalweg.data import prepare

    made = prepare({"inputs": [{"path": str(lines)}], "minhash": {}}, work / "ours")
    return made.manifest["documents"]


def datatrove_run(lines: Path, work: Path, splitter: str) -> int:
    """Documents left by datatrove's MinHash."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    config = MinhashConfig()
    signature = MinhashDedupSignature(str(work / "signatures"), config)
    if splitter == "white space":
        signature.word_tokenizer = _AtSpaces()
    stages = [
        ([JsonlReader(str(lines.parent)), signature], 1),
        ([MinhashDedupBuckets(str(work / "signatures"), str(work / "buckets"), config=config)], config.num_buckets),
        ([MinhashDedupCluster(str(work / "buckets"), str(work / "remove"), config=config)], 1),
        ([
            JsonlReader(str(lines.parent)),
            MinhashDedupFilter(str(work / "remove")),
            JsonlWriter(str(work / "left"), output_filename="${rank}.jsonl"),
        ], 1),
    ]  # fmt: skip
    for stage, tasks in stages:
        LocalPipelineExecutor(pipeline=stage, tasks=tasks, workers=1, skip_completed=False).run()
    import gzip

    return sum(
        len((gzip.open(file) if file.name.endswith(".gz") else open(file, "rb")).read().splitlines())
        for file in (work / "left").iterdir()
    )


class _AtSpaces:
    def word_tokenize(self, text: str) -> list[str]:
        """Words at white space."""
        return text.split()


def measure(rows: dict[str, Callable[[], Any]], repeats: int, size: tuple[int, float]) -> dict[str, dict[str, Any]]:
    """Runs the rows in turn; documents and megabytes a second, and the ratio of the first row to each, by round."""
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    results: dict[str, Any] = {}
    for _ in range(repeats):
        for name, work in rows.items():
            began = time.process_time()
            results[name] = work()
            seconds[name].append(time.process_time() - began)
    first = next(iter(rows))
    found = {}
    for name, taken in seconds.items():
        ratios = [other / own for own, other in zip(seconds[first], taken, strict=True)]
        found[name] = {
            "documents_per_second": size[0] / statistics.median(taken),
            "megabytes_per_second": size[1] / statistics.median(taken),
            "seconds": sorted(taken),
            "ours_over_it": [min(ratios), statistics.median(ratios), max(ratios)],
            "result": results[name],
        }
    return found


def near_duplicates(texts: list[str], repeats: int, peers: bool) -> dict[str, Any]:
    """Whole runs and signatures alone."""
    from thalweg.data import MinHasher

    size = (len(texts), sum(len(text.encode()) for text in texts) / 1e6)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "in").mkdir()
        lines = root / "in" / "texts.jsonl"
        lines.write_text("".join(json.dumps({"text": text, "id": f"{i:06d}"}) + "\n" for i, text in enumerate(texts)))

        def fresh(run: Callable[[Path, Path], int]) -> int:
            work = root / "work"
            shutil.rmtree(work, ignore_errors=True)
            return run(lines, work)

        whole = {"thalweg": lambda: fresh(ours)}
        alone: dict[str, Callable[[], Any]] = {"thalweg": lambda: len(MinHasher().band_keys(texts)[0])}
        if peers:
            for splitter in ("spaCy", "white space"):
                whole[f"datatrove, {splitter}"] = lambda s=splitter: fresh(lambda a, b: datatrove_run(a, b, s))
                alone[f"datatrove, {splitter}"] = _signatures(texts, splitter)
        return {
            "documents": size[0],
            "megabytes": size[1],
            "whole runs": measure(whole, repeats, size),
            "signatures alone": measure(alone, repeats, size),
        }


def _signatures(texts: list[str], splitter: str) -> Callable[[], int]:
    from datatrove.pipeline.dedup import MinhashConfig, MinhashDedupSignature

    step = MinhashDedupSignature(tempfile.mkdtemp(), MinhashConfig())
    if splitter == "white space":
        step.word_tokenizer = _AtSpaces()
    return lambda: len([step.get_signature(step.get_shingles(text)) for text in texts])


def tokens(texts: list[str], repeats: int) -> dict[str, Any]:
    """A shard of byte-pair encoding beside the library's own batches."""
    from tokenizers import Tokenizer

    from thalweg.data import train_bpe, write_shard

    learnt = train_bpe(texts, vocab_size=4096)
    with tempfile.TemporaryDirectory() as folder:
        learnt.save(Path(folder) / "tokenizer.json")
        library = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        library.encode_special_tokens = True

        def alone() -> int:
            batches = (texts[i : i + 350] for i in range(0, len(texts), 350))
            return sum(len(each.ids) + 1 for batch in batches for each in library.encode_batch(batch))

        rows = {"thalweg": lambda: write_shard(Path(folder) / "shard", texts, learnt).header.count, "tokenizers": alone}
        size = (len(texts), sum(len(text.encode()) for text in texts) / 1e6)
        found = measure(rows, repeats, size)
    for row in found.values():
        row["tokens_per_second"] = row["result"] / statistics.median(row["seconds"])
    return found


def main() -> None:
    """Prints a table and writes JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--documents", type=int, default=0, help="of the corpus; 0 takes all")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    peers = False
    with suppress(ImportError):
        import datatrove  # noqa: F401
        from loguru import logger

        logger.remove()
        peers = True
    texts = pieces()[: options.documents or None]
    report = {
        "near-duplicates": near_duplicates(texts, options.repeats, peers),
        "tokens": tokens(texts, 3 * options.repeats),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    near = report["near-duplicates"]
    for title, rows in (
        ("whole runs", near["whole runs"]),
        ("signatures alone", near["signatures alone"]),
        ("tokens", report["tokens"]),
    ):
        print(title)
        for name, row in rows.items():
            least, middle, most = row["ours_over_it"]
            print(
                f"  {name:24} {row['documents_per_second']:8.0f} documents/s {row['megabytes_per_second']:7.2f} MB/s "
                f"thalweg is {middle:.2f} times as fast ({least:.2f} to {most:.2f}); {row['result']}"
            )
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
