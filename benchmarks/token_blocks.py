"""Peak memory and seconds of eight Gauss-Newton products of a language model with GPT-2's vocabulary.

    python benchmarks/token_blocks.py WAY TOKENS

WAY is a back end of the Gauss-Newton matrix ("token blocks", "fwd", "rev-rev"); one way a process, since the peak of a
process only rises.
"""

from __future__ import annotations

import resource
import sys
import time

import torch

from thalweg.landscape import ggn, next_token_loss
from thalweg.nn import LanguageModel, ModelConfig

VOCABULARY = 50_257


def peak() -> float:
    """MiB that the process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(way: str, tokens: int) -> None:
    """Prints the peak before and after the first products, and the seconds of the second."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = LanguageModel(ModelConfig(vocab_size=VOCABULARY, dim=32, layers=2, heads=2, context=tokens))
    op = ggn(model, next_token_loss, [torch.randint(VOCABULARY, (1, tokens + 1))], back_end=way)
    vectors = torch.randn(8, op.n)
    before = peak()
    op.rows(vectors)
    after, began = peak(), time.perf_counter()
    norm = float(op.rows(vectors).norm())
    print(
        f"{way}: {op.n} weights, {tokens} tokens: {after - before:.0f} MiB above {before:.0f}, "
        f"{time.perf_counter() - began:.2f} s, norm {norm:.6g}"
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
