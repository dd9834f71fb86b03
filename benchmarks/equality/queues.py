"""A farm with all its processes: API, scheduler, and one worker for each of the two queues."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from PIL import Image

from benchmarks.equality.pictures import file_of
from latentfarm.client import Client
from latentfarm.embedded.farm import Farm
from latentfarm.embedded.stack import Stack
from latentfarm.references import INPUT_FIELDS

if TYPE_CHECKING:
    import uuid
    from types import TracebackType

    from latentfarm.spec import RenderSpec

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 600.0


class RefusedError(Exception):
    """A job that the farm did not bring to an image."""


class Queues:
    """Renders specs over HTTP; base and refiner run in processes of their own.

    Args:
        folder: for the services' data and logs.
        registry: file of the models that the workers load.
    """

    def __init__(self, folder: Path, registry: Path) -> None:
        self._folder = folder
        self._registry = registry
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            for name in [name for name in os.environ if name.startswith("LATENTFARM_")]:
                del os.environ[name]  # what the shell sets must not reach this farm
            os.environ["LATENTFARM_MODELS_FILE"] = str(self._registry)
            stack = opened.enter_context(Stack(self._folder))
            farm = Farm(stack, ROOT, port=0, workers=["base", "refine"], devices="cpu")
            farm.start()
            self.url = farm.url
            self._client = opened.enter_context(Client(farm.url))
            self._open = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def submit(self, given: RenderSpec, seed: int, *, uploads: bool) -> uuid.UUID:
        """Hands in one image.

        Args:
            given: its pictures are data URLs.
            uploads: whether these are uploaded first.
        """
        fields: dict[str, Any] = {"seed": seed, "num_images": 1}
        if uploads:
            pictures = {name: getattr(given, name) for name in INPUT_FIELDS}
            fields |= {name: self._client.upload(file_of(url)) for name, url in pictures.items() if url}
        return self._client.submit(given.model_copy(update=fields)).id

    def pixels(self, job: uuid.UUID) -> torch.Tensor:
        """Waits for an image: `[height, width, 3]`, uint8.

        Raises:
            RefusedError: the job failed.
            TimeoutError: it did not end.
        """
        ended = self._client.wait(job, timeout=PATIENCE_S)
        if ended.state != "succeeded":
            errors = [image.error for image in self._client.images(job)]
            raise RefusedError(f"{ended.state}: {errors}")
        with Image.open(io.BytesIO(self._client.image(job))) as picture:
            return torch.from_numpy(np.asarray(picture.convert("RGB")).copy())
