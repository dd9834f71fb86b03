"""What goes into the engine and what comes out. Imports nothing heavy: tests fake both sides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from latentfarm.states import Lane

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from latentfarm.errors import RenderError
    from latentfarm.spec import RenderSpec
    from latentfarm.states import Stage


@dataclass(frozen=True, slots=True)
class Handover:
    """Stage-one latents and what they were made with.

    Attributes:
        latents: `[1, 4, height / 8, width / 8]`, on the CPU, still scaled and noisy as the sampler left them. An
            engine that does without torch has arrays of NumPy here, and in `Picture.pixels`.
        header: model hash, sampler, steps, split, dtype and shape; compared before the refiner goes on.
    """

    latents: torch.Tensor
    header: dict[str, str]


@dataclass(frozen=True, slots=True)
class Picture:
    """A finished image.

    Attributes:
        pixels: `[height, width, 3]`, uint8, on the CPU.
        notes: what provenance adds to the spec: model hash, versions, device, bucket, steps done.
        warnings: what the user should know, such as a prompt that was cut at 77 tokens.
    """

    pixels: torch.Tensor
    notes: dict[str, str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inputs:
    """The pictures that a job starts from, decoded, in their own size; the pipelines convert them.

    Attributes:
        image: what image-to-image and inpainting start from.
        mask: white where to paint; its presence makes it inpainting. Of the image's size.
    """

    image: Image
    mask: Image | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A sample between two steps: what another engine needs to go on as if nothing had happened.

    Attributes:
        step: steps of this stage that are behind it, at least 1.
        state: plain data by name: None, numbers, text, tensors on the CPU, arrays, and lists and tuples
            of these. Only engines look into it.
        header: what it was made with. An engine that would have written another one ignores it.
    """

    step: int
    state: dict[str, Any]
    header: dict[str, str]


@dataclass(frozen=True, slots=True)
class Errand:
    """One stage of one render, claimed: what is true of every stage."""

    render_id: int
    fence: int
    stage: Stage


@dataclass(frozen=True, slots=True)
class Order(Errand):
    """An errand with all that the step engine needs.

    Attributes:
        spec: complete: model, sampler, width and height are filled in.
        seed: of this image.
        handover: the base's latents; only for the refine stage.
        inputs: of a job with an image, for each stage that needs them (`latentfarm.modes`).
        alone: nothing else may be in the engine meanwhile (it was in flight when a process died).
        checkpoint: where to go on; ignored, with a line in the log, when it does not fit.
    """

    spec: RenderSpec
    seed: int
    lane: Lane
    handover: Handover | None = None
    inputs: Inputs | None = None
    alone: bool = False
    checkpoint: Checkpoint | None = None

    @property
    def has_company(self) -> bool:
        """Whether its prompt may be read together with others'.

        Interactive orders wait for nobody, reproducible ones are read in a constant shape, and where tokens, weights or
        encoders are an order's own they are no other's.
        """
        spec = self.spec
        own = spec.reproducible or spec.prompt_weighting or spec.embeddings or spec.loras
        return self.lane is not Lane.INTERACTIVE and not self.alone and not own


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An order that an engine gives back, and the state that it has come to; None before the first step."""

    order: Errand
    checkpoint: Checkpoint | None = None


class Listener(Protocol):
    """Who is told what becomes of an order. Calls come from the engine's threads and must return at once."""

    def stepped(self, order: Order, done: int, total: int) -> None:
        """The sample has `done` of `total` steps of this stage behind it. From the render thread."""

    def checkpointed(self, order: Order, checkpoint: Checkpoint) -> None:
        """A state that is worth keeping. From the render thread, every few seconds of a sample."""

    def finished(self, order: Order, result: Handover | Picture) -> None:
        """The stage is done: latents for the refiner, or the image."""

    def failed(self, order: Order, error: RenderError) -> None:
        """The stage ended without a result."""


@dataclass(slots=True)
class Counters:
    """What the engine did since it started; read by metrics, written by the render thread alone."""

    forwards: int = 0
    """UNet forwards."""
    rows: int = 0
    """Occupied rows over all forwards."""
    bucket_rows: int = 0
    """Rows that the bucket of each forward's model could have held."""
    steps: int = 0
    """Sampler steps over all samples."""
    busy_s: float = 0.0
    """Seconds in forwards and steps."""
    full_rows: int = 0
    """Occupied rows of forwards while 8 or more samples of the group were in flight."""
    full_bucket_rows: int = 0
    """Rows that those forwards could have held."""
    beat: int = 0
    """Raised at every turn of the render loop, idle turns too: what the parent watches."""
    errors: dict[str, int] = field(default_factory=dict)


class Engine(Protocol):
    """What the child needs of an engine; `worker.engine.engine.StepEngine` is the real one."""

    counters: Counters

    @property
    def broken(self) -> BaseException | None:
        """Set once the device cannot be trusted any more: the child then exits."""

    def start(self) -> None:
        """Starts its threads. Models are loaded already."""

    def submit(self, order: Order) -> None:
        """Takes an order; returns at once. The listener hears of it exactly once unless it is dropped."""

    def drop(self, render_id: int) -> None:
        """Forgets an order within two steps (cancelled or superseded); the listener hears nothing more."""

    def in_flight(self, lane: Lane | None = None) -> int:
        """Orders taken and not yet handed to the listener, waiting ones too."""

    def stop(self) -> list[Unfinished]:
        """Stops at the next step boundary; gives back the orders that were not finished."""
