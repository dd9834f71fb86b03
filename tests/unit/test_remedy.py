"""Where a render begins again whose image is lost."""

from __future__ import annotations

import pytest

from latentfarm.spec import RefinerSpec, RenderSpec
from latentfarm.states import Stage
from latentfarm.verify.remedy import stage_to_repeat

PICTURE = "sha256:" + "0" * 64
PLAIN = RenderSpec(prompt="a")
ENSEMBLE = RenderSpec(prompt="a", refiner=RefinerSpec())
FROM_IMAGE = RenderSpec(prompt="a", image=PICTURE, refiner=RefinerSpec())
PAINTED = RenderSpec(prompt="a", image=PICTURE, mask_image=PICTURE, refiner=RefinerSpec())
ALONE = RenderSpec(prompt="a", image=PICTURE, refiner=RefinerSpec(mode="only"))


@pytest.mark.parametrize(
    ("spec", "latents", "inputs", "stage"),
    [
        (PLAIN, False, True, Stage.BASE),
        (ENSEMBLE, True, True, Stage.REFINE),
        (ENSEMBLE, False, True, Stage.BASE),
        # The refiner of such a job reads its latents alone, so the picture may be gone.
        (FROM_IMAGE, True, False, Stage.REFINE),
        (FROM_IMAGE, False, True, Stage.BASE),
        (FROM_IMAGE, False, False, "a picture that it starts from is gone"),
        # And this one must know where it may paint.
        (PAINTED, True, True, Stage.REFINE),
        (PAINTED, True, False, "a picture that it starts from is gone"),
        (ALONE, False, True, Stage.REFINE),
        (ALONE, False, False, "a picture that it starts from is gone"),
    ],
)
def test_the_first_stage_that_is_needed(
    spec: RenderSpec, *, latents: bool, inputs: bool, stage: Stage | str
) -> None:
    assert stage_to_repeat(spec, latents=latents, refined=False, inputs=inputs) == stage


def test_what_was_refined_has_no_base_stage() -> None:
    assert stage_to_repeat(ENSEMBLE, latents=True, refined=True, inputs=True) is Stage.REFINE
    gone = stage_to_repeat(ENSEMBLE, latents=False, refined=True, inputs=True)
    assert gone == "the latents that it was refined from are gone"


def test_what_was_refined_from_an_image_needs_that_alone() -> None:
    assert stage_to_repeat(ALONE, latents=False, refined=True, inputs=True) is Stage.REFINE
