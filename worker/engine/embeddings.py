"""Textual inversions: tokens and rows that exist for the jobs that ask for them, and for no others."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from latentfarm.errors import ModelError, SpecError
from worker.engine.adapters import check_file
from worker.engine.weights import check_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from latentfarm.registry import ModelEntry

_PARTS = {"text_encoder": ("tokenizer", "clip_l"), "text_encoder_2": ("tokenizer_2", "clip_g")}
"""Of each encoder: its tokenizer, and the name that its rows have in a file."""
_KEPT = 32
"""Tokenizers of sets that are remembered; a copy of a full vocabulary takes a while."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """One textual inversion.

    Attributes:
        tokens: the token that prompts write, and one more for each further row.
        rows: per encoder `[len(tokens), width]`.
    """

    tokens: tuple[str, ...]
    rows: dict[str, torch.Tensor]


@dataclass(slots=True)
class Embeddings:
    """The textual inversions of a model.

    Stock adds tokens to the shared tokenizer and rows to the shared table; another job's prompt with
    the same characters would then mean something else. Here a job gets a copy of the tokenizer, with
    its own tokens in its own order, and the rows beyond the table are put in while it is encoded.

    Attributes:
        loaded: by the names that specs use.
        unusable: why one could not be loaded, by name.
    """

    loaded: dict[str, Embedding] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    _tokenizers: OrderedDict[tuple[int, tuple[str, ...]], Any] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, names: Iterable[str]) -> list[Embedding]:
        """The embeddings of a job.

        Raises:
            ModelError: a file could not be used.
            SpecError: there is no such embedding.
        """
        found = []
        for name in names:
            if name in self.unusable:
                raise ModelError(f"embedding {name}: {self.unusable[name]}")
            if name not in self.loaded:
                raise SpecError(f"there is no embedding {name!r}")
            found.append(self.loaded[name])
        return found

    def teach(self, pipe: Any, names: tuple[str, ...], encoding: threading.Lock) -> None:
        """Gives a job's pipeline tokenizers that know its tokens.

        Args:
            pipe: of this job alone; its tokenizers are replaced.
            names: as the job lists them: tokens get their numbers in this order, as in stock.
            encoding: guards the tokenizers that are copied.
        """
        wanted = self.of(names)
        if not wanted:
            return
        with self._lock:
            for encoder, (part, _) in _PARTS.items():
                tokenizer = getattr(pipe, part)
                if tokenizer is None or getattr(pipe, encoder) is None:
                    continue
                key = (id(tokenizer), names)
                if key not in self._tokenizers:
                    with encoding:
                        taught = copy.deepcopy(tokenizer)
                    taught.add_tokens([token for one in wanted for token in one.tokens])
                    self._tokenizers[key] = taught
                self._tokenizers.move_to_end(key)
                setattr(pipe, part, self._tokenizers[key])
            while len(self._tokenizers) > _KEPT:
                self._tokenizers.popitem(last=False)

    @contextlib.contextmanager
    def rows_of(self, pipe: Any, names: Iterable[str]) -> Iterator[None]:
        """While it is open, the encoders of a pipeline know the rows of a job's tokens.

        Whoever opens it holds `LoadedModel.encoding`.
        """
        wanted = self.of(names)
        with contextlib.ExitStack() as hooks:
            for encoder in _PARTS if wanted else ():
                network = getattr(pipe, encoder)
                if network is not None:
                    rows = torch.cat([one.rows[encoder] for one in wanted])
                    hooks.callback(_extend(network.get_input_embeddings(), rows))
            yield


def _extend(table: torch.nn.Embedding, rows: torch.Tensor) -> Callable[[], None]:
    """Looks tokens beyond the table up in `rows`. Returns what undoes it."""
    size = table.num_embeddings
    asked: list[torch.Tensor] = []

    def clamp(_: Any, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        asked.append(inputs[0])
        return (inputs[0].clamp(max=size - 1),)

    def replace(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        tokens = asked.pop()
        beyond = tokens >= size
        known = rows.to(output)[(tokens - size).clamp(min=0)]
        return torch.where(beyond[..., None], known, output)

    handles = (table.register_forward_pre_hook(clamp), table.register_forward_hook(replace))

    def undo() -> None:
        for handle in handles:
            handle.remove()

    return undo


def load_embeddings(entry: ModelEntry, pipelines: Mapping[Any, Any]) -> Embeddings:
    """Reads the embeddings of an entry. One that cannot be used is noted, not raised."""
    found = Embeddings()
    for name, one in entry.embeddings.items():
        try:
            path = check_file(one.place)
            check_whole(path)
            found.loaded[name] = _read(path, entry.token_of(name), list(pipelines.values()))
        except ModelError as error:
            found.unusable[name] = str(error)
    return found


def _read(path: Path, token: str, pipelines: list[Any]) -> Embedding:
    from safetensors.torch import load_file

    tensors = load_file(path)
    rows = {}
    for encoder, (part, key) in _PARTS.items():
        for pipeline in pipelines:
            network, tokenizer = getattr(pipeline, encoder), getattr(pipeline, part)
            if network is None:
                continue
            rows[encoder] = _fitting(path, key, tensors, network.get_input_embeddings().embedding_dim)
            if token in tokenizer.get_vocab():
                raise ModelError(f"{path}: the model knows a token {token!r} already; name another one")
    counts = {len(tensor) for tensor in rows.values()}
    if len(counts) != 1:
        raise ModelError(f"{path} has {sorted(counts)} rows for its encoders, which must be as many")
    names = (token, *(f"{token}_{index}" for index in range(1, counts.pop())))
    return Embedding(names, rows)


def _fitting(path: Path, key: str, tensors: Mapping[str, torch.Tensor], width: int) -> torch.Tensor:
    tensor = tensors.get(key)
    if tensor is None:
        raise ModelError(f"{path} has no tensor {key}, which an embedding for SDXL has")
    rows = tensor if tensor.ndim == 2 else tensor[None]
    if rows.ndim != 2 or rows.shape[1] != width or len(rows) == 0:
        raise ModelError(
            f"{path} was made for another model: {key} is {tuple(tensor.shape)}, not [n, {width}]"
        )
    return rows
