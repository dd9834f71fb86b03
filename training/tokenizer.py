"""A CLIP tokenizer with a vocabulary of our own.

The byte alphabet of CLIP's byte-level BPE is kept, so any text can be encoded; the merges
are learned from the world's words alone, until each of them is a single token. The real
vocabulary of 49,408 words would take 3 M parameters per encoder.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77  # as SDXL


def byte_alphabet() -> list[str]:
    """The 256 printable stand-ins that byte-level BPE uses for bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(hidden))]


def learn_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, in order, after which every word is one token; ties go by spelling."""
    spellings = [[*word[:-1], f"{word[-1]}</w>"] for word in words]
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for spelling in spellings for pair in itertools.pairwise(spelling))
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spellings = [_merge(spelling, best) for spelling in spellings]


def _merge(spelling: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for part in spelling:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return merged


def make_tokenizer(words: Iterable[str], pad: str = END) -> CLIPTokenizer:
    """A tokenizer of 77 tokens; SDXL's second one pads with `!`, which has the id 0 here as there."""
    merges = learn_merges(words)
    letters = byte_alphabet()
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    # The end token has the highest id: CLIP with the legacy `eos_token_id` 2 pools at the argmax.
    vocab = {token: number for number, token in enumerate([*tokens, START, END])}
    options: dict[str, Any] = {"merges": merges, "pad_token": pad, "model_max_length": LENGTH}
    return CLIPTokenizer(vocab=vocab, **options)


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write the folder as the hub's SDXL has it: `vocab.json` and `merges.txt` beside the config."""
    tokenizer.save_pretrained(folder)
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in state["merges"]]
    (folder / "vocab.json").write_text(
        json.dumps(state["vocab"], ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
