"""Entries for Turbo, Lightning and LCM, with tiny in their place: the mechanics, not the pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from latentfarm.spec import RenderSpec
from latentfarm.validation import complete
from tests.rig import Rig, largest_difference, stock_image, with_bucket

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry
    from worker.engine.model import LoadedModel

#: As docs/models.md has them, and the stock call that the makers of each model show.
ENTRIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "turbo": (
        {"sampler": "euler_ancestral", "timestep_spacing": "trailing", "steps": 1, "guidance_scale": 0.0},
        {"sampler": "euler_ancestral", "timestep_spacing": "trailing", "num_inference_steps": 1}
        | {"guidance_scale": 0.0},
    ),
    "lightning": (
        {"sampler": "euler", "timestep_spacing": "trailing", "steps": 4, "guidance_scale": 0.0},
        {"sampler": "euler", "timestep_spacing": "trailing", "num_inference_steps": 4}
        | {"guidance_scale": 0.0},
    ),
    "lcm": (
        {"sampler": "lcm", "steps": 4, "guidance_scale": 1.0},
        {"sampler": "lcm", "num_inference_steps": 4, "guidance_scale": 1.0},
    ),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_prompt_alone_gives_the_picture_of_the_makers_call(
    name: str, tiny: LoadedModel, tiny_entry: ModelEntry
) -> None:
    own, call = ENTRIES[name]
    size = {"prompt": "a red circle", "width": 64, "height": 64}
    spec = complete(RenderSpec.model_validate(size), tiny_entry.model_copy(update=own))
    with Rig(with_bucket(tiny, 1)) as rig:
        order = rig.submit(spec, seed=3)
        farm = rig.picture(order).pixels
        assert len(rig.recorder.steps[order.render_id]) == own["steps"]
    stock = stock_image(tiny, RenderSpec.model_validate({**size, **call}), 3)
    assert largest_difference(farm, stock) <= 1
    plain = complete(RenderSpec.model_validate(size), tiny_entry)
    with Rig(with_bucket(tiny, 1)) as rig:
        assert largest_difference(farm, rig.picture(rig.submit(plain, seed=3)).pixels) > 8
