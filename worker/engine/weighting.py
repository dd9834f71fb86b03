"""Prompts with weights -> embeddings, through compel; for prompts without any, what stock makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from latentfarm.errors import SpecError
from worker.engine.prompt_parts import flat_prompts, parts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.spec import RenderSpec
    from worker.engine.embeddings import Embedding
    from worker.engine.model import LoadedModel

MAX_PIECES = 8
"""Of 77 tokens each: what the UNet attends to at most."""
MAX_PASSES = 64
"""Of one text encoder for one prompt: one for each piece, and again for each part with a weight below 1."""


class Branch(NamedTuple):
    """The positive or the negative side of a sample.

    Attributes:
        fields: names of the prompts that the encoders read, the last one pooled.
        texts: of these.
        parts: of these, as compel has parsed them.
        skipped: layers to leave out at the end of the encoders.
    """

    fields: tuple[str, ...]
    texts: tuple[str, ...]
    parts: tuple[Any, ...]
    skipped: int = 0


def read_branches(pipe: Any, spec: RenderSpec, *, guided: bool) -> list[Branch]:
    """Parses what the encoders of a pipeline are to read: the positive branch, then the negative one.

    As in stock the second prompts fall back to the first, a pipeline with one encoder reads the first
    alone, only the positive branch skips layers, and there is no negative branch where it is zeros.

    Raises:
        SpecError: names the prompt and what is wrong with it.
    """
    names = [("prompt", "prompt_2" if spec.prompt_2 else "prompt")]
    zeros = spec.negative_prompt is None and pipe.config.force_zeros_for_empty_prompt
    if guided and not zeros:
        names.append(
            ("negative_prompt", "negative_prompt_2" if spec.negative_prompt_2 else "negative_prompt")
        )
    known = {field: parts_of(field, getattr(spec, field) or "") for pair in names for field in pair}
    branches = []
    for index, pair in enumerate(names):
        fields = pair[: len(_encoders(pipe))]
        texts = tuple(getattr(spec, field) or "" for field in fields)
        skipped = 0 if index else spec.clip_skip or 0
        branches.append(Branch(fields, texts, tuple(known[field] for field in fields), skipped))
    return branches


def encode_branches(
    pipe: Any, model: LoadedModel, spec: RenderSpec, branches: Sequence[Branch], *, guided: bool
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor, torch.Tensor | None]:
    """What `encode_prompt` returns: embeddings and negative ones `[1, tokens, width]`, pooled ones `[1, width]`.

    All embeddings of a sample have as many tokens, 77 or a multiple: what is shorter is filled up with
    the encoding of the empty prompt. Pooled embeddings know no weights, and of a long prompt the start.
    Whoever calls it holds `LoadedModel.encoding`, and has switched the encoders' adapters and rows.

    Raises:
        SpecError: a prompt is too long, or would take too many passes.
    """
    known = model.embeddings.of(spec.embeddings)
    encoded, pooled = [], []
    for branch in branches:
        encoders = [_Encoder(pair, known, model.device, branch.skipped) for pair in _encoders(pipe)]
        encoded.append([encoder.read(branch, index) for index, encoder in enumerate(encoders)])
        pooled.append(encoders[-1].pooled(branch.texts[-1]))
    longest = max(one.embeds.shape[1] for branch in encoded for one in branch)
    embeds = [torch.cat([one.filled(longest) for one in branch], dim=-1).to(pooled[0]) for branch in encoded]
    if not guided:
        return embeds[0], None, pooled[0], None
    if len(branches) == 1:
        return embeds[0], torch.zeros_like(embeds[0]), pooled[0], torch.zeros_like(pooled[0])
    return embeds[0], embeds[1], pooled[0], pooled[1]


def _encoders(pipe: Any) -> list[tuple[Any, Any]]:
    """Tokenizers and encoders, in stock's order; a refiner has the second pair alone."""
    pairs = [(pipe.tokenizer, pipe.text_encoder), (pipe.tokenizer_2, pipe.text_encoder_2)]
    return [pair for pair in pairs if None not in pair]


class _Encoded(NamedTuple):
    """What one encoder makes of a branch; `empty` is the encoding of no words, `[1, 77, width]`."""

    embeds: torch.Tensor
    empty: torch.Tensor

    def filled(self, length: int) -> torch.Tensor:
        missing = (length - self.embeds.shape[1]) // self.empty.shape[1]
        return torch.cat([self.embeds, *([self.empty] * missing)], dim=1)


class _Encoder:
    """A text encoder as compel sees it: some layers short, on the device also while it waits elsewhere."""

    def __init__(
        self, pair: tuple[Any, Any], known: list[Embedding], device: torch.device, skipped: int
    ) -> None:
        from compel import Compel, ReturnedEmbeddingsType

        tokenizer, self._network = pair
        self._skipped = skipped
        self.device = device
        self.dtype = self._network.dtype
        self._compel = Compel(
            tokenizer=tokenizer,
            text_encoder=self,
            textual_inversion_manager=_Rows(tokenizer, known),
            returned_embeddings_type=ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
            truncate_long_prompts=False,
            device=device,
        )

    def __call__(self, *args: Any, **named: Any) -> Any:
        """A pass; the layer before the last is where compel looks."""
        found = self._network(*args, **named)
        if self._skipped and found.hidden_states is not None:
            found.hidden_states = found.hidden_states[: -self._skipped]
        return found

    def read(self, branch: Branch, index: int) -> _Encoded:
        """Encodes the text that this encoder is given in a branch."""
        parts, provider = branch.parts[index], self._compel.conditioning_provider
        self._check_size(branch.fields[index], parts)
        try:
            embeds, _ = self._compel.build_conditioning_tensor_for_conjunction(parts)
        except RuntimeError as error:
            if "token sequence" not in str(error):
                raise
            raise SpecError(f"{branch.fields[index]}: compel cannot place its weights: {error}") from error
        return _Encoded(embeds, provider.empty_z.to(embeds))

    def pooled(self, text: str) -> torch.Tensor:
        """`[1, width]`, of the text with its syntax."""
        provider = self._compel.conditioning_provider
        found: torch.Tensor = provider.get_pooled_embeddings([text], device=self.device)
        return found

    def _check_size(self, field: str, parts: Any) -> None:
        provider = self._compel.conditioning_provider
        limit, pieces, passes = provider.max_token_count, 0, 0
        for prompt in parts.prompts:
            counts = []
            for flat in flat_prompts(prompt):
                weights = [fragment.weight for fragment in flat.children]
                texts = [fragment.text for fragment in flat.children]
                tokens, _, _ = provider.get_token_ids_and_expand_weights(texts, weights, device="cpu")
                counts.append(len(tokens) // limit)
                passes += counts[-1] * (1 + sum(weight < 1 for weight in weights))
            pieces += max(counts)
        if pieces > MAX_PIECES:
            raise SpecError(f"{field}: is {pieces} pieces of {limit} tokens; allowed are {MAX_PIECES}")
        if passes > MAX_PASSES:
            raise SpecError(
                f"{field}: takes {passes} passes through a text encoder, one for each {limit} tokens and again"
                f" for each part with a weight below 1; allowed are {MAX_PASSES}"
            )


class _Rows:
    """Tells compel which tokens the first token of an embedding stands for."""

    def __init__(self, tokenizer: Any, known: list[Embedding]) -> None:
        rows = [tokenizer.convert_tokens_to_ids(list(one.tokens)) for one in known]
        self._rows = {ids[0]: ids for ids in rows}

    def expand_textual_inversion_token_ids_if_necessary(self, token_ids: list[int]) -> list[int]:
        """Compel's name for it."""
        return [row for token in token_ids for row in self._rows.get(token, [token])]
