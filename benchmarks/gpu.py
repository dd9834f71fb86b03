"""SDXL at its real size on one card: `python -m benchmarks gpu --part engine`, `--part farm`.

The part `engine` needs torch, diffusers, transformers and pydantic; the part `farm` all that a farm needs. Without a
CUDA device it says so; `--device cpu --model models/tiny/base --size 64` tries the command itself.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.card.arms import Work, engine, pixels_of, stock
from benchmarks.card.clock import busy, decode_s
from benchmarks.card.weights import engine_model, stock_pipeline
from benchmarks.measuring.outcome import Outcome
from benchmarks.measuring.turns import Spread, ratio, take_turns
from latentfarm.registry import ModelEntry
from latentfarm.spec import RenderSpec
from latentfarm.speed import Speed
from latentfarm.validation import complete
from worker.engine.warmup import compile_nothing_more, warm_up
from worker.warming import orders_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.engine.model import LoadedModel

TOKENIZERS = Path(__file__).parents[1] / "models" / "tiny" / "base"
MIXED = ((1.0, 1.0), (0.75, 0.75), (0.5, 0.5), (1.1875, 0.8125))
"""Height and width as shares of `--size`: 1024, 768, 512 and 1216 x 832."""
ASKED = "Stock diffusers and the engine make the same pictures from the same random weights, in turns, on one card."


def main(argv: list[str]) -> int:
    """Measures; the last line is one JSON object; 1 when a bound is not met."""
    options = _options(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        print(Outcome(f"gpu {options.part}", ASKED, {"needs": "a CUDA device"}).as_json())
        return 0
    outcome = measure_engine(options) if options.part == "engine" else measure_farm(options)
    if not options.json:
        print(outcome.as_text(), file=sys.stderr)
    if options.write:
        outcome.write()
    print(outcome.as_json())
    return 0 if outcome.is_met else 1


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parser.add_argument("--part", choices=["engine", "farm"], default="engine")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", help="a folder in diffusers layout; SDXL with random weights when absent")
    parser.add_argument("--size", type=int, default=1024, help="pixels, either side")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=8, help="images in one forward of the engine")
    parser.add_argument(
        "--images", type=int, default=32, help="of the engine in each round; the slower arms make fewer"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--attention", choices=["sdpa", "flash", "cudnn"], default="sdpa")
    parser.add_argument("--compile", choices=["none", "regional", "whole"], default="regional")
    parser.add_argument("--fused", action=argparse.BooleanOptionalAction, default=True, help="projections")
    parser.add_argument("--graphs", action=argparse.BooleanOptionalAction, default=True, help="CUDA graphs")
    parser.add_argument("--dtype", choices=["bfloat16", "float16", "float32"], default="bfloat16")
    parser.add_argument("--stock-dtype", choices=["bfloat16", "float16", "float32"], default="float16")
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--write", action="store_true", help="the section in docs/benchmarks.md")
    return parser.parse_args(argv)


def measure_engine(options: argparse.Namespace) -> Outcome:
    """The engine against stock's loop, and against itself where pictures are mixed or reproducible."""
    entry = _entry(options)
    model = engine_model(entry, options.device, full=options.model is None, tokenizers=TOKENIZERS)
    one = stock_pipeline(model, getattr(torch, options.stock_dtype))
    many = stock_pipeline(model, model.dtype)
    outcome = Outcome("gpu engine", ASKED, _setup(options))
    started = time.perf_counter()
    warm_up(model, orders_of(entry, model.pipelines), record=entry.speed.cuda_graphs)
    if entry.speed.compile != "none":
        compile_nothing_more()
    outcome.figures["warm after s"] = round(time.perf_counter() - started, 1)
    _rates(outcome, options, entry, {"one": one, "many": many}, model)
    del one, many
    _shares(outcome, options, entry, model)
    _mixed(outcome, options, entry, model)
    _same_bits(outcome, options, entry, model)
    return outcome


def measure_farm(options: argparse.Namespace) -> Outcome:
    """A whole farm against the engine alone; one after the other, since a card does not hold both."""
    from benchmarks.card.whole import save, through_a_farm

    entry = _entry(options)
    model = engine_model(entry, options.device, full=options.model is None, tokenizers=TOKENIZERS)
    outcome = Outcome(
        "gpu farm", "The engine alone, then a whole farm with the same weights.", _setup(options)
    )
    spec = _spec(entry, options)
    work = Work(spec, options.images)
    with tempfile.TemporaryDirectory(prefix="weights-") as folder:
        weights = Path(options.model).resolve() if options.model else save(model, Path(folder))
        warm_up(model, orders_of(entry, model.pipelines), record=entry.speed.cuda_graphs)
        alone = [engine(model, work) for _ in range(options.rounds)]
        del model
        if options.device == "cuda":
            torch.cuda.empty_cache()
        whole = through_a_farm(entry, weights, spec, options.images, options.rounds, options.device)
    outcome.figures |= {"engine alone, images/s": Spread.of(alone), "farm, images/s": Spread.of(whole)}
    outcome.least("farm / engine alone", ratio(whole, alone), 0.97)
    return outcome


def _entry(options: argparse.Namespace) -> ModelEntry:
    sizes = tuple(_sides(options.size, share) for share in MIXED)
    speed = Speed(
        compile=options.compile,
        attention=options.attention,
        fused_projections=options.fused and options.device == "cuda",
        cuda_graphs=options.graphs and options.device == "cuda",
        warm_sizes=tuple(sizes),
    )
    return ModelEntry(
        name="card",
        base=options.model or "/nowhere",
        dtype=options.dtype,
        bucket=2 * options.batch,
        native_size=(options.size, options.size),
        min_size=8,
        speed=speed,
    )


def _setup(options: argparse.Namespace) -> dict[str, Any]:
    cuda = options.device == "cuda"
    return {
        "card": torch.cuda.get_device_name() if cuda else options.device,
        "torch": torch.__version__,
        "work": f"{options.size} x {options.size}, {options.steps} Euler steps, guidance on, {options.dtype}",
        "batch": options.batch,
        "compile": options.compile,
        "attention": options.attention,
        "fused projections": options.fused,
        "CUDA graphs": options.graphs,
    }


def _spec(entry: ModelEntry, options: argparse.Namespace, **fields: Any) -> RenderSpec:
    height, width = fields.pop("sides", (options.size, options.size))
    given = RenderSpec(
        model=entry.name,
        prompt="a lighthouse on a cliff",
        num_inference_steps=options.steps,
        guidance_scale=8.0,
        height=height,
        width=width,
        **fields,
    )
    return complete(given, entry)


def _sides(size: int, share: tuple[float, float]) -> tuple[int, int]:
    """[height, width], multiples of 8."""
    height, width = (max(8, round(size * part / 8) * 8) for part in share)
    return height, width


def _rates(
    outcome: Outcome,
    options: argparse.Namespace,
    entry: ModelEntry,
    pipelines: dict[str, Any],
    model: LoadedModel,
) -> None:
    spec = _spec(entry, options)
    work, few = Work(spec, options.images), Work(spec, max(1, options.images // 10))
    half = Work(spec, max(options.batch, options.images // 2))
    arms: dict[str, Callable[[], float]] = {
        "stock, one by one": lambda: stock(pipelines["one"], few, 1),
        "stock, in batches": lambda: stock(pipelines["many"], half, options.batch),
        "engine": lambda: engine(model, work),
    }
    stock(pipelines["one"], Work(spec, 1), 1)
    stock(pipelines["many"], Work(spec, options.batch), options.batch)
    engine(model, Work(spec, options.batch))
    found = take_turns(arms, options.rounds, warm=0)
    outcome.figures |= {f"{name}, images/s": Spread.of(values) for name, values in found.items()}
    one, many, ours = found.values()
    outcome.least(f"engine / stock {options.stock_dtype} one by one", ratio(ours, one), 2.5)
    outcome.least("engine / stock at the engine's batch", ratio(ours, many), 1.25)


def _shares(outcome: Outcome, options: argparse.Namespace, entry: ModelEntry, model: LoadedModel) -> None:
    work = Work(_spec(entry, options), 2 * options.batch)
    side = options.size // 8
    vae = decode_s(model, torch.randn(1, 4, side, side, device=model.device))
    seen = busy(model, lambda: engine(model, work))
    outcome.figures["VAE, s per image"] = round(vae, 4)
    outcome.most("card idle, share", round(seen.idle, 4), 0.03)
    outcome.most("VAE, share of the card's time", round(vae * work.images / seen.kernels, 4), 0.08)


def _mixed(outcome: Outcome, options: argparse.Namespace, entry: ModelEntry, model: LoadedModel) -> None:
    """All sizes together, against the rates of each by itself, weighted by what they ask of the card."""
    specs = [_spec(entry, options, sides=_sides(options.size, share)) for share in MIXED]
    each = options.batch
    graphs = _graphs()
    alone = [engine(model, Work(spec, each)) for spec in specs]
    started = time.perf_counter()
    pixels_of(model, [(spec, seed) for seed in range(each) for spec in specs])
    together = time.perf_counter() - started
    outcome.figures["alone, images/s"] = dict(zip(map(_size, specs), alone, strict=True))
    outcome.least(
        "mixed sizes / each by itself", round(sum(each / rate for rate in alone) / together, 3), 0.9
    )
    outcome.most("compiled after warm-up", _graphs() - graphs, 0)


def _same_bits(outcome: Outcome, options: argparse.Namespace, entry: ModelEntry, model: LoadedModel) -> None:
    fixed = _spec(entry, options, reproducible=True)
    others = [(_spec(entry, options), seed) for seed in range(100, 100 + 2 * options.batch)]
    (alone,) = pixels_of(model, [(fixed, 7)])
    crowded = [pixels_of(model, [*others[:place], (fixed, 7), *others[place:]])[place] for place in (0, 3)]
    outcome.most("reproducible, differing channels", _differing(alone, crowded), 0)
    images = max(1, options.images // 2)
    free, bound = (engine(model, Work(spec, images)) for spec in (_spec(entry, options), fixed))
    outcome.figures["reproducible, times the free rate"] = round(bound / free, 3)


def _differing(alone: torch.Tensor, crowded: list[torch.Tensor]) -> int:
    return sum(int((alone != other).sum()) for other in crowded)


def _graphs() -> int:
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def _size(spec: RenderSpec) -> str:
    return f"{spec.height} x {spec.width}"
