"""Prompts -> embeddings, by stock's own method; what was encoded before is remembered."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch

from worker.engine.weighting import encode_branches, read_branches

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from latentfarm.spec import RenderSpec
    from latentfarm.states import Stage
    from worker.engine.adapters import AdapterSet
    from worker.engine.model import LoadedModel
    from worker.engine.weighting import Branch

LIMIT = 64 << 20
"""Bytes of embeddings that are remembered, on the device: of SDXL in half precision two hundred texts."""


class PromptMemory:
    """What the text encoders made of the texts that were wanted last.

    Images of one job share their prompts, and most of a dataset's jobs their negative prompt. Whoever asks
    holds `LoadedModel.encoding`; what it gets is shared and must not be altered.

    Attributes:
        encoded: how often something was not remembered.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.encoded = 0
        self._limit = limit
        self._held = 0
        self._known: OrderedDict[Hashable, Any] = OrderedDict()

    def of(self, key: Hashable, encode: Callable[[], Any]) -> Any:
        """What is known under a key, or else what `encode` gives: a tuple of tensors and None."""
        if key not in self._known:
            self.put(key, encode())
        self._known.move_to_end(key)
        return self._known[key]

    def knows(self, key: Hashable) -> bool:
        """Whether nothing needs to be encoded for a key."""
        return key in self._known

    def put(self, key: Hashable, found: tuple[torch.Tensor | None, ...]) -> None:
        """Remembers what was not known; what was wanted longest ago goes where there is no room."""
        self.encoded += 1
        self._known[key] = found
        self._held += _bytes(found)
        while self._held > self._limit and len(self._known) > 1:
            self._held -= _bytes(self._known.popitem(last=False)[1])


def encode(
    pipe: Any, model: LoadedModel, spec: RenderSpec, stage: Stage, *, guided: bool
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor, torch.Tensor | None]:
    """What stock's `encode_prompt` returns, or with weights what takes its place.

    The embeddings and negative ones are `[1, tokens, width]`, pooled and negative pooled ones `[1, width]`; the
    negative ones are None without guidance.
    """
    wanted = model.adapters.of(spec, stage)
    if spec.prompt_weighting:
        branches = read_branches(pipe, spec, guided=guided)
        texts = tuple((branch.texts, branch.skipped) for branch in branches)
        key = (*_reader(pipe, spec, wanted), spec.prompt_weighting, texts, guided)
        with model.encoding:
            found: tuple[Any, ...] = model.prompts.of(
                key, lambda: _weighted(pipe, model, spec, wanted, branches, guided=guided)
            )
        return found
    with model.encoding:
        one = _branch(pipe, model, spec, wanted)
        positive, pooled = one(spec.prompt, spec.prompt_2, spec.clip_skip)
        if not guided:
            return positive, None, pooled, None
        if spec.negative_prompt is None and pipe.config.force_zeros_for_empty_prompt:
            return positive, torch.zeros_like(positive), pooled, torch.zeros_like(pooled)
        # Stock skips layers for the positive branch alone.
        negative, negative_pooled = one(spec.negative_prompt or "", spec.negative_prompt_2, None)
    return positive, negative, pooled, negative_pooled


def _branch(
    pipe: Any, model: LoadedModel, spec: RenderSpec, wanted: AdapterSet
) -> Callable[[str, str | None, int | None], Any]:
    """Reads one side of a prompt, as stock reads the positive one; it reads the negative one no other way."""
    reader = _reader(pipe, spec, wanted)

    def read(text: str, second: str | None, skip: int | None) -> Any:
        key = (*reader, text, second or text, skip)
        return model.prompts.of(key, lambda: plain(pipe, model, spec, wanted, [(text, second or text)], skip))

    return read


def plain(
    pipe: Any,
    model: LoadedModel,
    spec: RenderSpec,
    wanted: AdapterSet,
    texts: Sequence[tuple[str, str]],
    skip: int | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reads texts without weights, each for both encoders: `[texts, tokens, width]` and `[texts, width]`."""
    with _set_up(pipe, model, spec, wanted):
        embeds, _, pooled, _ = pipe.encode_prompt(
            prompt=[text for text, _ in texts],
            prompt_2=[second for _, second in texts],
            device=model.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
            clip_skip=skip,
        )
    return embeds, pooled


def _weighted(
    pipe: Any,
    model: LoadedModel,
    spec: RenderSpec,
    wanted: AdapterSet,
    branches: Sequence[Branch],
    *,
    guided: bool,
) -> Any:
    with _set_up(pipe, model, spec, wanted):
        return encode_branches(pipe, model, spec, branches, guided=guided)


def positive_key(pipe: Any, spec: RenderSpec, wanted: AdapterSet) -> tuple[Hashable, ...]:
    """Under which the prompt of a spec without weights is remembered."""
    return (*_reader(pipe, spec, wanted), spec.prompt, spec.prompt_2 or spec.prompt, spec.clip_skip)


def _reader(pipe: Any, spec: RenderSpec, wanted: AdapterSet) -> tuple[Hashable, ...]:
    """Who reads, and with what on: the encoders themselves, since a network is equal to itself alone.

    What was read in company, in another shape, is not for the reproducible.
    """
    return pipe.text_encoder, pipe.text_encoder_2, wanted, spec.embeddings, spec.reproducible


@contextlib.contextmanager
def _set_up(pipe: Any, model: LoadedModel, spec: RenderSpec, wanted: AdapterSet) -> Iterator[None]:
    """While it is open, the encoders have a job's LoRAs on and know its embeddings."""
    with model.embeddings.rows_of(pipe, spec.embeddings):
        for encoder in filter(None, (pipe.text_encoder, pipe.text_encoder_2)):
            model.adapters.switch(encoder, wanted)
        yield


def _bytes(found: tuple[torch.Tensor | None, ...]) -> int:
    return sum(tensor.nbytes for tensor in found if tensor is not None)
