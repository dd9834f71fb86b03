"""The model card: what the pair is, how it was made, and what the judge says of it."""

import json
from pathlib import Path
from typing import Any, Final

from training.architecture import Pair
from training.denoising import BASE_COURSE, COARSE_COURSE, COARSE_SHARE, REFINER_COURSE, REFINER_SHARE
from training.latents import BATCH
from training.loop import Course
from training.train import PICTURES, parameters
from training.vae import BATCH as VAE_BATCH
from training.vae import COURSE as VAE_COURSE

_TEMPLATE: Final = Path(__file__).with_name("card.md")


def write_card(pair: Pair, report: dict[str, Any], figures: dict[str, Any], path: Path) -> None:
    """Fill `card.md` with hyper-parameters, losses of `report` and the benchmark's `figures`."""
    counts = parameters(pair)
    text = _TEMPLATE.read_text(encoding="utf-8").format(
        seed=report["seed"],
        pictures=f"{PICTURES:,}",
        timesteps=REFINER_SHARE,
        parameters=", ".join(f"{name} {count / 1e6:.2f} M" for name, count in counts.items()),
        vae_course=_course(VAE_COURSE, VAE_BATCH),
        base_course=_course(BASE_COURSE, BATCH),
        coarse_course=_course(COARSE_COURSE, BATCH),
        coarse_pictures=f"{PICTURES // 2:,}",
        coarse_share=f"{COARSE_SHARE:.0%}".replace("%", " %"),
        coarse_loss=f"{report['base_coarse']['loss']:.4f}",
        refiner_course=_course(REFINER_COURSE, BATCH),
        vae_loss=f"{report['vae']['loss']:.4f}",
        scaling_factor=report["vae"]["scaling_factor"],
        base_loss=f"{report['base']['loss']:.4f}",
        refiner_loss=f"{report['refiner']['loss']:.4f}",
        time=report.get("time", "not recorded"),
        scores=_scores(figures),
        refiner=_refiner(figures["refiner"]),
        effects=_effects(figures["effects"]),
        bounds=_bounds(figures["bounds"]),
    )
    path.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The last line of a file as JSON: a report, or what a benchmark printed."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8").strip().splitlines()[-1])
    return found


def _course(course: Course, batch: int) -> str:
    average = f", weights averaged with {course.average}" if course.average else ""
    return f"{course.steps:,} steps of {batch}, Adam {course.rate:g}, cosine{average}"


def _scores(figures: dict[str, Any]) -> str:
    columns = ("judge", "follows", "follows_at_guidance_1", "another_caption")
    facts = ("main", "all", "colour", "shape", "place", "size", "background", "style")
    lines = [
        f"| {fact} | " + " | ".join(f"{100 * figures[column][fact]:.1f} %" for column in columns) + " |"
        for fact in facts
    ]
    return "\n".join(lines)


def _refiner(ways: dict[str, Any]) -> str:
    return "\n".join(
        f"| {way.replace('_', ' ')} | {values['distance_to_ideal']} | {values['sharpness']} |"
        for way, values in ways.items()
    )


def _effects(effects: dict[str, list[float]]) -> str:
    return "\n".join(f"| {name.replace('_', ' ')} | {one} | {two} |" for name, (one, two) in effects.items())


def _bounds(bounds: dict[str, Any]) -> str:
    return "\n".join(
        f"| {name.replace('_', ' ')} | {found['value']} | {found['bound']} | {'yes' if found['met'] else 'no'} |"
        for name, found in bounds.items()
    )
