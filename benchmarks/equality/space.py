"""The parameter space of text-to-image: every field of a spec that the picture depends on, with its range.

A new field or mode is one more dimension here; the sets follow by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.equality.dimension import (
    PLAIN,
    Dimension,
    Fields,
    Level,
    both,
    if_sampler,
    row_of,
    unless_plain,
)
from benchmarks.equality.models import DISCRETE, EDM, KINDS
from latentfarm.samplers import SAMPLERS, SPACINGS, SWITCHES

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
SHAPES = ("circle", "square", "triangle", "star")
STEPS = 7
"""Of a set that does not say how many."""


def fixed(**fields: object) -> Level:
    """A level of one value."""
    return Level(lambda _rng: dict(fields))


def between(field: str, low: float, high: float) -> Level:
    """A level that draws a number."""
    return Level(lambda rng: {field: round(rng.uniform(low, high), 3)})


def whole(field: str, low: int, high: int) -> Level:
    """A level that draws a whole number, both ends included."""
    return Level(lambda rng: {field: rng.randint(low, high)})


def caption(rng: random.Random) -> str:
    """A prompt of the tiny model's world."""
    size, colour, shape = rng.choice(["small", "large"]), rng.choice(COLOURS), rng.choice(SHAPES)
    return f"a {size} {colour} {shape} on the {rng.choice(['left', 'right'])}"


def _text(field: str) -> dict[str, Level]:
    return {
        PLAIN: Level(),
        "empty": fixed(**{field: ""}),
        "said": Level(lambda rng: {field: caption(rng)}),
    }


def _size(field: str, low: int, high: int) -> dict[str, Level]:
    def draw(least: int, most: int) -> Callable[[random.Random], Fields]:
        return lambda rng: {field: (rng.randint(least, most), rng.randint(least, most))}

    return {PLAIN: Level(), "small": Level(draw(low, 48)), "large": Level(draw(160, high))}


def _pixels(heights: tuple[int, int], widths: tuple[int, int]) -> Level:
    return Level(
        lambda rng: {"height": 8 * rng.randint(*heights), "width": 8 * rng.randint(*widths)},
    )


def _own_steps(rng: random.Random) -> Fields:
    return {"timesteps": sorted(rng.sample(range(1, 1000), rng.randint(2, 9)), reverse=True)}


def _own_sigmas(rng: random.Random) -> Fields:
    levels = sorted((round(rng.uniform(0.05, 14.5), 3) for _ in range(rng.randint(2, 9))), reverse=True)
    return {"sigmas": [*levels, 0.0]}


def _says(field: str) -> Callable[[Mapping[str, str]], bool]:
    """An empty second prompt is none: stock then takes the first."""
    return lambda chosen: chosen[field] == "said"


def _guided(chosen: Mapping[str, str]) -> bool:
    return chosen["guidance"] != "none" or chosen["refiner_guidance"] == "strong"


def _prompts() -> list[Dimension]:
    prompt = {
        PLAIN: fixed(prompt="a small green square on the left"),
        "drawn": Level(lambda rng: {"prompt": caption(rng)}),
        "empty": fixed(prompt=""),
        "long": Level(lambda rng: {"prompt": " ".join(caption(rng) for _ in range(rng.randint(12, 20)))}),
        "foreign": Level(lambda rng: {"prompt": "".join(chr(rng.randint(0x3B1, 0x3C9)) for _ in range(9))}),
    }
    return [
        Dimension("prompt", prompt),
        Dimension("prompt_2", _text("prompt_2"), lives=_says("prompt_2")),
        Dimension("negative_prompt", _text("negative_prompt"), lives=_guided),
        Dimension(
            "negative_prompt_2",
            _text("negative_prompt_2"),
            # Without a negative prompt stock takes zeros, and does not read the second one.
            lives=both(_guided, unless_plain("negative_prompt"), _says("negative_prompt_2")),
        ),
        Dimension(
            "clip_skip",
            {PLAIN: Level(), "none": fixed(clip_skip=0), "some": fixed(clip_skip=1)},
            lives=lambda chosen: chosen["clip_skip"] == "some",
        ),
    ]


def _conditioning() -> list[Dimension]:
    def pair(chosen: Mapping[str, str]) -> bool:
        given = [chosen[f"negative_{name}_size"] != PLAIN for name in ("original", "target")]
        return _guided(chosen) and all(given)

    corner = "crops_coords_top_left"
    return [
        Dimension("original_size", _size("original_size", 8, 1024)),
        Dimension("target_size", _size("target_size", 8, 1024)),
        Dimension(corner, _size(corner, 0, 512)),
        Dimension("negative_original_size", _size("negative_original_size", 8, 1024), lives=pair),
        Dimension("negative_target_size", _size("negative_target_size", 8, 1024), lives=pair),
        Dimension(f"negative_{corner}", _size(f"negative_{corner}", 0, 512), lives=pair),
    ]


def _guidance() -> list[Dimension]:
    levels = {
        PLAIN: Level(),
        "none": between("guidance_scale", 0, 1),
        "low": between("guidance_scale", 1.05, 3),
        "high": between("guidance_scale", 8, 15),
    }
    rescale = {PLAIN: Level(), "some": between("guidance_rescale", 0.05, 1)}
    return [Dimension("guidance", levels), Dimension("guidance_rescale", rescale, lives=_guided)]


def _schedules() -> list[Dimension]:
    def schedule(name: str) -> Level:
        taken = if_sampler(lambda row: name == "default" or name in row.sigma_schedules)
        plain = both(taken, _no_schedule_of_ones_own) if name != "default" else taken
        return Level(fixed(sigma_schedule=name).draw, plain)

    def spacing(name: str) -> Level:
        return Level(fixed(timestep_spacing=name).draw, if_sampler(lambda row: row.spacing))

    zero = if_sampler(lambda row: row.takes_zero_snr)
    return [
        Dimension(
            "sigma_schedule", {PLAIN: Level(), **{name: schedule(name) for name in ("default", *SWITCHES)}}
        ),
        Dimension("timestep_spacing", {PLAIN: Level(), **{name: spacing(name) for name in SPACINGS}}),
        Dimension(
            "zero_snr",
            {
                PLAIN: Level(),
                "on": Level(fixed(rescale_betas_zero_snr=True).draw, zero),
                "off": Level(fixed(rescale_betas_zero_snr=False).draw, zero),
            },
        ),
        Dimension(
            "eta",
            {
                PLAIN: Level(),
                "some": Level(between("eta", 0.05, 1).draw, if_sampler(lambda row: row.takes_eta)),
            },
        ),
    ]


def _no_schedule_of_ones_own(chosen: Mapping[str, str]) -> bool:
    return chosen.get("steps", PLAIN) not in ("timesteps", "sigmas")


def _unnamed(chosen: Mapping[str, str]) -> bool:
    return chosen.get("sigma_schedule", PLAIN) in (PLAIN, "default")


def _steps() -> Dimension:
    return Dimension(
        "steps",
        {
            PLAIN: fixed(num_inference_steps=STEPS),
            "few": whole("num_inference_steps", 1, 5),
            "some": whole("num_inference_steps", 8, 12),
            "many": whole("num_inference_steps", 15, 22),
            "timesteps": Level(_own_steps, both(_unnamed, if_sampler(lambda row: row.takes_timesteps))),
            "sigmas": Level(_own_sigmas, both(_unnamed, if_sampler(lambda row: row.takes_sigmas))),
        },
    )


def _refiner() -> list[Dimension]:
    def split(low: float, high: float) -> Level:
        drawn = between("refiner.high_noise_frac", low, high).draw
        return Level(drawn, _splits)

    def own(field: str, low: float, high: float) -> Level:
        return Level(between(f"refiner.{field}", low, high).draw, both(unless_plain("refiner"), _splits))

    return [
        Dimension(
            "refiner",
            {
                PLAIN: Level(),
                "early": split(0.05, 0.35),
                "middle": split(0.4, 0.7),
                "late": split(0.75, 0.97),
            },
        ),
        Dimension(
            "refiner_guidance",
            {PLAIN: Level(), "none": own("guidance_scale", 0, 1), "strong": own("guidance_scale", 6, 12)},
        ),
        Dimension("aesthetic_score", {PLAIN: Level(), "drawn": own("aesthetic_score", 0, 10)}),
        Dimension(
            "negative_aesthetic_score",
            {PLAIN: Level(), "drawn": own("negative_aesthetic_score", 0, 10)},
            lives=_refined_with_guidance,
        ),
    ]


def _splits(chosen: Mapping[str, str]) -> bool:
    return _family(chosen) != "edm"


def _refined_with_guidance(chosen: Mapping[str, str]) -> bool:
    own = chosen["refiner_guidance"]
    return own == "strong" or (own == PLAIN and chosen["guidance"] != "none")


def _family(chosen: Mapping[str, str]) -> str | None:
    row, model = row_of(chosen), chosen.get("model")
    if row is not None:
        return row.family
    return None if model is None else ("edm" if model in EDM else "discrete")


def _of_one_kind(family: str) -> Callable[[Mapping[str, str]], bool]:
    return lambda chosen: _family(chosen) in (None, family)


def _model_and_sampler() -> list[Dimension]:
    models = {
        name: Level(fixed(model=name).draw, _of_one_kind("edm" if name in EDM else "discrete"))
        for name in KINDS
    }
    samplers = {
        name: Level(fixed(sampler=name).draw, _of_one_kind(row.family)) for name, row in SAMPLERS.items()
    }
    return [
        Dimension("model", models, measured=False),
        Dimension("sampler", samplers, lives=lambda chosen: chosen["model"] in DISCRETE),
    ]


def text_to_image() -> list[Dimension]:
    """All dimensions, those that decide most about the others first."""
    size = {
        PLAIN: fixed(height=64, width=64),
        "wide": _pixels((8, 9), (10, 13)),
        "tall": _pixels((10, 13), (8, 9)),
    }
    return [
        *_model_and_sampler(),
        _steps(),
        *_schedules(),
        *_refiner(),
        *_guidance(),
        Dimension("size", size, measured=False),
        *_prompts(),
        *_conditioning(),
    ]


def plain_fields(dimension: Dimension) -> Fields:
    """What the spec says where a dimension is plain."""
    level: Any = dimension.levels.get(PLAIN)
    return {"sampler": "euler"} if level is None else level.draw(None)
