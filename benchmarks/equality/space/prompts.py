"""What the text encoders read, and what the UNet is told of sizes and crops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.equality.dimension import PLAIN, Dimension, Level, both, unless_plain
from benchmarks.equality.space.guidance import guided
from benchmarks.equality.space.levels import caption, fixed, size, text
from benchmarks.equality.space.refiner import has_base

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.equality.dimension import Condition


def _says(field: str) -> Condition:
    """An empty second prompt is none: stock then takes the first."""
    return lambda chosen: chosen[field] == "said"


def prompts() -> list[Dimension]:
    """All four texts, and how deep they are read."""
    prompt = {
        PLAIN: fixed(prompt="a small green square on the left"),
        "drawn": Level(lambda rng: {"prompt": caption(rng)}),
        "empty": fixed(prompt=""),
        "long": Level(lambda rng: {"prompt": " ".join(caption(rng) for _ in range(rng.randint(12, 20)))}),
        "foreign": Level(lambda rng: {"prompt": "".join(chr(rng.randint(0x3B1, 0x3C9)) for _ in range(9))}),
    }
    return [
        Dimension("prompt", prompt),
        Dimension("prompt_2", text("prompt_2"), lives=both(has_base, _says("prompt_2"))),
        Dimension("negative_prompt", text("negative_prompt"), lives=guided),
        Dimension(
            "negative_prompt_2",
            text("negative_prompt_2"),
            # Without a negative prompt stock takes zeros, and does not read the second one.
            lives=both(has_base, guided, unless_plain("negative_prompt"), _says("negative_prompt_2")),
        ),
        Dimension(
            "clip_skip",
            {PLAIN: Level(), "none": fixed(clip_skip=0), "some": fixed(clip_skip=1)},
            lives=lambda chosen: chosen["clip_skip"] == "some",
        ),
    ]


def sizes() -> list[Dimension]:
    """Micro-conditioning of both branches."""

    def heard(chosen: Mapping[str, str]) -> bool:
        """Stock's text-to-image reads them in pairs only, the others each for itself."""
        given = [chosen[f"negative_{name}_size"] != PLAIN for name in ("original", "target")]
        return guided(chosen) and (chosen["mode"] != PLAIN or all(given))

    def heard_by_refiner(chosen: Mapping[str, str]) -> bool:
        """Stock's image-to-image and inpainting read this one beside aesthetic scores only."""
        alone = chosen["mode"] != PLAIN and chosen["refiner"] == PLAIN
        return heard(chosen) and not alone

    corner = "crops_coords_top_left"
    return [
        Dimension("original_size", size("original_size", 8, 1024)),
        Dimension("target_size", size("target_size", 8, 1024)),
        Dimension(corner, size(corner, 0, 512)),
        Dimension("negative_original_size", size("negative_original_size", 8, 1024), lives=heard),
        Dimension("negative_target_size", size("negative_target_size", 8, 1024), lives=heard),
        Dimension(f"negative_{corner}", size(f"negative_{corner}", 0, 512), lives=heard_by_refiner),
    ]
