"""What the options for memory and speed save and cost: `python -m benchmarks memory`, on a CUDA device.

SDXL base and refiner at their real size with random weights, one 1024x1024 picture at a time. Each option's
model lies beside a plain one, and the two render in turn.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from latentfarm.registry import ModelEntry
from latentfarm.spec import RefinerSpec, RenderSpec
from latentfarm.speed import Speed
from latentfarm.validation import complete
from tests.gpu.full_size import load_full_size
from tests.rig import Rig, largest_difference, with_bucket
from worker.engine.speed import apply_speed

if TYPE_CHECKING:
    from worker.engine.model import LoadedModel

TOKENIZERS = Path(__file__).parents[1] / "models" / "tiny" / "base"
GB = 1e9
SIDE = 1024
SIDES = {"vae_tiling": 1536}
"""Of the picture; no tile is made at 1024, which is a tile."""
ARMS: dict[str, dict[str, Any]] = {
    "offload = model": {"offload": "model"},
    "offload = sequential": {"offload": "sequential"},
    "vae_tiling": {"vae_tiling": True},
    "attention = flash": {"attention": "flash"},
    "attention = efficient": {"attention": "efficient"},
    "attention = cudnn": {"attention": "cudnn"},
    "attention = math": {"attention": "math"},
    "channels_last": {"channels_last": True},
    "fused_projections": {"fused_projections": True},
    "compile = regional": {"compile": "regional"},
    "cuda_graphs": {"cuda_graphs": True},
}


@dataclass
class Arm:
    """One model with its options, and what was measured of it.

    Attributes:
        resting: bytes on the device between pictures.
        peak: bytes while a picture was made.
        seconds: of each picture.
    """

    model: LoadedModel
    resting: int = 0
    peak: int = 0
    seconds: list[float] = field(default_factory=list)
    pixels: torch.Tensor | None = None

    def render(self, spec: RenderSpec, *, counted: bool = True, beside: int = 0) -> None:
        """Makes one picture.

        Args:
            beside: bytes on the device that are another arm's.
        """
        torch.cuda.reset_peak_memory_stats()
        with Rig(with_bucket(self.model, 1)) as rig:
            started = time.perf_counter()
            self.pixels = rig.picture(rig.submit(spec, 7)).pixels
            taken = time.perf_counter() - started
        if counted:
            self.seconds.append(taken)
        self.peak = torch.cuda.max_memory_allocated() - beside
        self.resting = torch.cuda.memory_allocated() - beside


def main(argv: list[str]) -> int:
    """Measures each option; prints one JSON object as the last line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="counted pictures of each arm")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--dtype", choices=["float16", "bfloat16"], default="float16")
    parser.add_argument("--only", nargs="*", choices=list(ARMS), help="these options alone")
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print(json.dumps({"needs": "a CUDA device", "bounds": {}}))
        return 0
    figures: dict[str, Any] = {"device": torch.cuda.get_device_name(), "dtype": options.dtype, "bounds": {}}
    dtype = getattr(torch, options.dtype)
    plain = _load(Speed(), dtype)
    plain.render(_spec(options.steps, SIDE))
    figures["plain"] = {"resting_gb": round(plain.resting / GB, 2), "peak_gb": round(plain.peak / GB, 2)}
    for name, changed in ARMS.items():
        if not options.only or name in options.only:
            asked = _spec(options.steps, SIDES.get(name, SIDE))
            figures[name] = _compare(plain, Speed(**changed), dtype, asked, options.rounds)
            if not options.json:
                print(name, json.dumps(figures[name]), file=sys.stderr, flush=True)
    print(json.dumps(figures))
    return 0


def _compare(plain: Arm, speed: Speed, dtype: torch.dtype, spec: RenderSpec, rounds: int) -> dict[str, Any]:
    """An option against none, in turn; or why it does not run here."""
    gc.collect()
    torch.cuda.empty_cache()
    beside = torch.cuda.memory_allocated()
    plain.seconds.clear()
    try:
        arm = _load(speed, dtype)
        for counted in [False] + [True] * rounds:  # the first pays for kernels and memory
            plain.render(spec, counted=counted)
            arm.render(spec, counted=counted, beside=beside)
    except (AssertionError, RuntimeError) as error:
        return {"error": str(error)[:300]}
    ratios = sorted(own / other for own, other in zip(arm.seconds, plain.seconds, strict=True))
    if arm.pixels is None or plain.pixels is None:
        raise RuntimeError("nothing was rendered")
    return {
        "resting_gb": round(arm.resting / GB, 2),
        "peak_gb": round(arm.peak / GB, 2),
        "plain_peak_gb": round((plain.peak - arm.resting) / GB, 2),
        "seconds": round(statistics.median(arm.seconds), 3),
        "times_as_long": round(statistics.median(ratios), 3),
        "spread": [round(ratios[0], 3), round(ratios[-1], 3)],
        "largest_difference": largest_difference(arm.pixels, plain.pixels),
    }


def _load(speed: Speed, dtype: torch.dtype) -> Arm:
    model = load_full_size(TOKENIZERS, dtype, bucket=1)
    apply_speed(speed, model.pipelines.values(), model.device)
    gc.collect()
    torch.cuda.empty_cache()
    return Arm(model)


def _spec(steps: int, side: int) -> RenderSpec:
    entry = ModelEntry(name="tiny", base="/nowhere", refiner="/nowhere")
    given = RenderSpec(
        prompt="a red circle", num_inference_steps=steps, width=side, height=side, refiner=RefinerSpec()
    )
    return complete(given, entry)
