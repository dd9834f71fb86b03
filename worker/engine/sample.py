"""A render inside the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from worker.engine.seating import mark_of

if TYPE_CHECKING:
    import torch

    from latentfarm.states import Stage
    from worker.engine.adapters import AdapterSet
    from worker.engine.model import LoadedModel
    from worker.engine.order import Order
    from worker.engine.painting import Overlay, Painting


class GroupKey(NamedTuple):
    """What samples must share to go through one UNet forward.

    Attributes:
        latents: `(4, height / 8, width / 8)`.
        tokens: length of the prompt embeddings.
        adapters: that the UNet has on, with their weights.
    """

    model: str
    stage: Stage
    latents: tuple[int, ...]
    tokens: int
    adapters: AdapterSet = ()


@dataclass(slots=True, eq=False)
class Sample:
    """Everything that one render needs for its next step. Plain data: it can be written down.

    Attributes:
        latents: `[1, 4, height / 8, width / 8]` on the device.
        prompt_embeds: `[rows, tokens, width]`, the negative row first; 2 rows when guided, else 1.
        pooled_embeds: `[rows, width]`.
        time_ids: `[rows, 6]` (base) or `[rows, 5]` (refiner with aesthetic scores).
        guidance_embed: `[1, width]` for UNets that take guidance as an input, else None.
        timesteps: of this stage, on the CPU, in the dtype that the sampler made.
        sampler: its own; set up at the first of `timesteps`.
        generator: on the CPU, seeded with the image's seed at the start of the stage.
        painting: what inpainting adds.
        overlay: the picture that the finished crop is put back into.
        step_options: what this sampler's `step` takes of `eta` and `generator`.
        index: UNet evaluations done.
        arrival: order of admission; smaller is older.
        skipped: forwards of others since its own last one.
        mark: decides, with the seed, its rows in a forward where it is reproducible.
        agreed: the header of its checkpoints.
        saved_at: its last checkpoint, or else its first step here, in monotonic seconds.
    """

    order: Order
    model: LoadedModel
    latents: torch.Tensor
    prompt_embeds: torch.Tensor
    pooled_embeds: torch.Tensor
    time_ids: torch.Tensor
    guidance_embed: torch.Tensor | None
    timesteps: torch.Tensor
    sampler: Any
    generator: torch.Generator
    step_options: dict[str, Any]
    guidance_scale: float
    guidance_rescale: float
    warnings: tuple[str, ...] = ()
    painting: Painting | None = None
    overlay: Overlay | None = None
    index: int = 0
    arrival: int = 0
    skipped: int = 0
    agreed: dict[str, str] = field(default_factory=dict)
    saved_at: float | None = None
    key: GroupKey = field(init=False)
    mark: int = field(init=False)

    def __post_init__(self) -> None:
        stage = self.order.stage
        self.mark = mark_of(self.order)
        self.key = GroupKey(
            self.model.name,
            stage,
            tuple(self.latents.shape[1:]),
            self.prompt_embeds.shape[1],
            self.model.adapters.of(self.order.spec, stage),
        )

    @property
    def rows(self) -> int:
        """Rows of a forward that it fills: 2 when guided, else 1."""
        return self.prompt_embeds.shape[0]

    @property
    def total(self) -> int:
        """UNet evaluations of this stage."""
        return len(self.timesteps)

    @property
    def finished(self) -> bool:
        """Whether the last step is done."""
        return self.index >= self.total

    @property
    def reproducible(self) -> bool:
        """Whether it may run in forwards of the model's constant shape only."""
        return self.order.spec.reproducible
