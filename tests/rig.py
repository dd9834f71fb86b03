"""A step engine with a listener that remembers, and the stock pipelines beside it."""

from __future__ import annotations

import copy
import dataclasses
import threading
from typing import TYPE_CHECKING, Any, Protocol

import diffusers
import torch
from diffusers.utils.torch_utils import randn_tensor

from latentfarm.modes import first_stage
from latentfarm.states import Lane, Stage
from worker.engine.engine import StepEngine
from worker.engine.order import Handover, Order, Picture
from worker.latents import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from latentfarm.errors import RenderError
    from latentfarm.spec import RenderSpec
    from worker.engine.model import LoadedModel
    from worker.engine.order import Checkpoint
    from worker.engine.preview import Viewer

PATIENCE_S = 240.0
#: Written down apart from the farm's own table, as a user of diffusers would: class and settings.
STOCK_SAMPLERS: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpmpp_3m": ("DPMSolverMultistepScheduler", {"solver_order": 3}),
    "dpmpp_3m_sde": (
        "DPMSolverMultistepScheduler",
        {"solver_order": 3, "algorithm_type": "sde-dpmsolver++"},
    ),
    "dpmpp_sde": ("DPMSolverSDEScheduler", {}),
    "dpmpp_single": ("DPMSolverSinglestepScheduler", {}),
    "dpmpp_single_sde": ("DPMSolverSinglestepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpm2": ("KDPM2DiscreteScheduler", {}),
    "dpm2_ancestral": ("KDPM2AncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "sa_solver": ("SASolverScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
    "edm_euler": ("EDMEulerScheduler", {}),
    "edm_dpmpp_2m": ("EDMDPMSolverMultistepScheduler", {}),
    "edm_dpmpp_2m_sde": ("EDMDPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "edm_dpmpp_3m": ("EDMDPMSolverMultistepScheduler", {"solver_order": 3}),
}
#: Arguments that both pipelines take.
_SHARED = (
    "prompt",
    "negative_prompt",
    "num_inference_steps",
    "guidance_scale",
    "guidance_rescale",
    "eta",
    "clip_skip",
    "timesteps",
    "sigmas",
    "original_size",
    "target_size",
    "crops_coords_top_left",
    "negative_original_size",
    "negative_target_size",
    "negative_crops_coords_top_left",
)
_SCHEDULES: dict[str, dict[str, Any]] = {
    "karras": {"use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True},
    "beta": {"use_beta_sigmas": True},
    "lu": {"use_lu_lambdas": True},
}


class MakeSpec(Protocol):
    """Makes a complete spec; see the fixture `make`."""

    def __call__(self, **fields: object) -> RenderSpec: ...


class Recorder:
    """Remembers all that it is told, and what was told twice."""

    def __init__(self) -> None:
        self.results: dict[tuple[int, Stage], Handover | Picture | RenderError] = {}
        self.steps: dict[int, list[tuple[int, int]]] = {}
        self.checkpoints: dict[int, list[Checkpoint]] = {}
        self.timeline: list[tuple[str, int]] = []
        self.told_twice: list[Order] = []
        self.changed = threading.Condition()

    def stepped(self, order: Order, done: int, total: int) -> None:
        with self.changed:
            self.steps.setdefault(order.render_id, []).append((done, total))
            self.timeline.append(("step", order.render_id))
            self.changed.notify_all()

    def checkpointed(self, order: Order, checkpoint: Checkpoint) -> None:
        with self.changed:
            self.checkpoints.setdefault(order.render_id, []).append(checkpoint)
            self.changed.notify_all()

    def finished(self, order: Order, result: Handover | Picture) -> None:
        self._note(order, result)

    def failed(self, order: Order, error: RenderError) -> None:
        self._note(order, error)

    def _note(self, order: Order, result: Handover | Picture | RenderError) -> None:
        with self.changed:
            if (order.render_id, order.stage) in self.results:
                self.told_twice.append(order)
            self.results[order.render_id, order.stage] = result
            self.timeline.append(("end", order.render_id))
            self.changed.notify_all()


class Rig:
    """An engine under test. Leaving it stops the engine and asserts that nothing was told twice."""

    def __init__(self, *models: LoadedModel, checkpoint_s: float = 0.0, viewer: Viewer | None = None) -> None:
        self.recorder = Recorder()
        named = {model.name: model for model in models}
        self.engine = StepEngine(named, self.recorder, checkpoint_s, viewer)
        self._ids = 0

    def __enter__(self) -> Self:
        self.engine.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.stop()
        if kind is None:
            assert self.recorder.told_twice == []

    def submit(self, spec: RenderSpec, seed: int = 0, **fields: Any) -> Order:
        """Sends one stage into the engine; the first unless `stage` says otherwise."""
        self._ids += 1
        values = {"stage": first_stage(spec), "lane": Lane.BULK, "render_id": self._ids, **fields}
        order = Order(fence=1, spec=spec, seed=seed, **values)
        self.engine.submit(order)
        return order

    def result(self, order: Order) -> Handover | Picture | RenderError:
        """What became of an order."""
        key = (order.render_id, order.stage)
        with self.recorder.changed:
            assert self.recorder.changed.wait_for(lambda: key in self.recorder.results, PATIENCE_S)
            return self.recorder.results[key]

    def until_stepped(self, order: Order, steps: int = 1) -> None:
        """Waits until an order has taken some steps."""
        with self.recorder.changed:
            seen = self.recorder.steps
            assert self.recorder.changed.wait_for(
                lambda: len(seen.get(order.render_id, [])) >= steps, PATIENCE_S
            )

    def picture(self, order: Order) -> Picture:
        """The image of an order, through the refine stage where the spec has one."""
        result = self.result(order)
        if isinstance(result, Handover):
            onward = dataclasses.replace(order, stage=Stage.REFINE, handover=unpack(pack(result)))
            self.engine.submit(onward)
            result = self.result(onward)
        assert isinstance(result, Picture), result
        return result

    def pictures(self, specs: Sequence[tuple[RenderSpec, int]], lane: Lane = Lane.BULK) -> list[Picture]:
        """All images of some specs and seeds that are in the engine together."""
        orders = [self.submit(spec, seed, lane=lane) for spec, seed in specs]
        return [self.picture(order) for order in orders]


def with_bucket(model: LoadedModel, rows: int) -> LoadedModel:
    """The same weights under another bucket."""
    return dataclasses.replace(model, bucket=rows, decodes_alone=rows == 1)


def largest_difference(left: torch.Tensor, right: torch.Tensor) -> int:
    """In steps of 1/255, over all channels of two uint8 images."""
    return int((left.int() - right.int()).abs().max())


def stock_image(model: LoadedModel, spec: RenderSpec, seed: int, *, nudge: float = 0.0) -> torch.Tensor:
    """What the stock pipelines make of a spec: `[height, width, 3]`, uint8.

    Args:
        nudge: the initial latents are multiplied by 1 + this.
    """
    base = stock_pipeline(model, Stage.BASE, spec, seed)
    common = stock_arguments(spec)
    generator = torch.Generator("cpu").manual_seed(seed)
    shape = (1, 4, (spec.height or 0) // 8, (spec.width or 0) // 8)
    latents = randn_tensor(shape, generator=generator, device=model.device, dtype=model.dtype)
    if nudge:
        latents = latents * (1 + nudge)
    only_base = {"prompt_2": spec.prompt_2, "negative_prompt_2": spec.negative_prompt_2}
    sizes = {"height": spec.height, "width": spec.width, "latents": latents}
    if spec.refiner is None:
        image = base(**common, **only_base, **sizes, generator=generator, output_type="np").images[0]
        return torch.from_numpy((image * 255).round().astype("uint8"))
    split = spec.refiner.high_noise_frac
    handed = base(
        **common, **only_base, **sizes, generator=generator, denoising_end=split, output_type="latent"
    ).images
    refiner = stock_pipeline(model, Stage.REFINE, spec, seed)
    changed = {
        "guidance_scale": spec.refiner.guidance_scale,
        "aesthetic_score": spec.refiner.aesthetic_score,
        "negative_aesthetic_score": spec.refiner.negative_aesthetic_score,
    }
    image = refiner(
        **{**common, **{name: value for name, value in changed.items() if value is not None}},
        image=handed,
        denoising_start=split,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="np",
    ).images[0]
    return torch.from_numpy((image * 255).round().astype("uint8"))


def stock_arguments(spec: RenderSpec) -> dict[str, Any]:
    """Only what the user gave: everything else is left to stock's own defaults."""
    given = {name: getattr(spec, name) for name in _SHARED if name in spec.model_fields_set}
    for name in ("timesteps", "sigmas"):
        if given.get(name) is not None:
            given[name] = list(given[name])
            given.pop("num_inference_steps", None)
    return {name: value for name, value in given.items() if value is not None}


def stock_pipeline(model: LoadedModel, stage: Stage, spec: RenderSpec, seed: int) -> Any:
    pipeline = copy.copy(model.pipelines[stage])
    if model.dtype is torch.float16:  # the engine holds it in float32, stock casts it to and fro
        pipeline.vae = copy.deepcopy(pipeline.vae).to(torch.float16)
    name, settings = STOCK_SAMPLERS[spec.sampler or "euler"]
    if name.startswith("EDM") and spec.sigma_schedule in ("karras", "exponential"):
        settings = {**settings, "sigma_schedule": spec.sigma_schedule}
    else:
        settings = {**settings, **_SCHEDULES.get(spec.sigma_schedule or "", {})}
    if spec.rescale_betas_zero_snr is not None:
        settings["rescale_betas_zero_snr"] = spec.rescale_betas_zero_snr
    if spec.timestep_spacing is not None:
        settings["timestep_spacing"] = spec.timestep_spacing
    if name == "DPMSolverSDEScheduler":
        settings["noise_sampler_seed"] = seed
    pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config, **settings)
    return pipeline
