"""Prompts to what the UNets are conditioned on, exactly as the pipelines do it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training.architecture import Pair
from training.tokenizer import make_tokenizer
from training.words import vocabulary


@dataclass(frozen=True)
class Conditioning:
    """Embeddings `[n, 77, width]` and pooled embeddings `[n, 64]`."""

    embeddings: Tensor
    pooled: Tensor

    def zeroed(self, rows: Tensor) -> "Conditioning":
        """The same with zeros in the rows where `rows` `[n]` is true."""
        keep = (~rows).to(self.pooled.dtype)[:, None]
        return Conditioning(self.embeddings * keep[:, :, None], self.pooled * keep)


class TextReader:
    """Both encoders with their tokenizers; hidden states are the last but one, as in SDXL."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._tokenizer = make_tokenizer(vocabulary())
        self._tokenizer_2 = make_tokenizer(vocabulary(), pad="!")

    def for_base(self, prompts: list[str], prompts_2: list[str]) -> Conditioning:
        """Both encoders side by side, pooled by the second."""
        first = self._pair.text_encoder(self._ids(self._tokenizer, prompts), output_hidden_states=True)
        second = self.for_refiner(prompts_2)
        joined = torch.cat([first.hidden_states[-2], second.embeddings], dim=-1)
        return Conditioning(joined, second.pooled)

    def for_refiner(self, prompts: list[str]) -> Conditioning:
        """The second encoder alone."""
        output = self._pair.text_encoder_2(self._ids(self._tokenizer_2, prompts), output_hidden_states=True)
        return Conditioning(output.hidden_states[-2], output.text_embeds)

    def _ids(self, tokenizer: Any, prompts: list[str]) -> Tensor:
        padded: Tensor = tokenizer(
            prompts, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        return padded.to(self._pair.text_encoder_2.device)
