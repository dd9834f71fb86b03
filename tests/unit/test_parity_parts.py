"""The parity benchmark's parts: how latents are moved, what is sent, and what counts as wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.equality.assembling import assembled
from benchmarks.equality.comparison import Comparison
from benchmarks.equality.measuring import Floor, Measured
from benchmarks.equality.pictures import FORMS, MASKS, inputs_of, mask_url, picture_url, upright_size
from benchmarks.equality.sets import ParameterSet
from benchmarks.parity import _bounds
from latentfarm.spec import RenderSpec
from tests.floor import DRAWS, MOVED, all_one_way, each_its_own_way

GREY = torch.full((8, 8, 3), 100, dtype=torch.uint8)


def test_each_latent_is_moved_by_a_millionth_of_itself() -> None:
    latents = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(1))
    moves = [*all_one_way(), *each_its_own_way(7)]
    shares = [move(latents) / latents - 1 for move in moves]
    assert all(torch.allclose(share.abs(), torch.tensor(MOVED), rtol=0.2) for share in shares)
    up = [float((share > 0).float().mean()) for share in shares]
    assert up[:2] == [1.0, 0.0]
    assert len(up) == 2 + DRAWS
    assert all(0.4 < share < 0.6 for share in up[2:])
    assert len({share.sign().numpy().tobytes() for share in shares}) == len(moves)


def test_the_draws_follow_from_the_seed_alone() -> None:
    latents = torch.ones((1, 4, 8, 8))
    first, again, other = ([move(latents) for move in each_its_own_way(seed)] for seed in (3, 3, 9))
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not any(torch.equal(one, two) for one, two in zip(first, other, strict=True))


@pytest.mark.parametrize("form", FORMS)
def test_stock_sees_each_form_of_a_picture_upright_and_in_rgb(form: str) -> None:
    url = picture_url(5, (70, 51), form)
    given = RenderSpec(prompt="a", image=url, mask_image=mask_url(5, (70, 51)))
    inputs = inputs_of(given)
    assert inputs is not None
    assert inputs.mask is not None
    assert upright_size(url) == (51, 70)
    assert (inputs.image.size, inputs.image.mode) == ((70, 51), "RGB")
    assert inputs.mask.size == (70, 51)


@pytest.mark.parametrize("kind", MASKS)
def test_no_mask_is_black_all_over(kind: str) -> None:
    for seed in range(40):
        inputs = inputs_of(
            RenderSpec(
                prompt="a", image=picture_url(seed, (41, 63)), mask_image=mask_url(seed, (41, 63), kind)
            )
        )
        assert inputs is not None
        assert inputs.mask is not None
        assert max(inputs.mask.convert("L").tobytes()) > 127


def test_what_has_no_meaning_without_another_part_is_left_out() -> None:
    drawn: list[dict[str, Any]] = [
        {"prompt": "a star"},
        {"token.prompt": "<mood>", "token.negative_prompt": "<s1>", "embeddings": ["mood"]},
        {"strength": 0.5, "padding_mask_crop": 3, "refiner.guidance_scale": 2.0, "mask.kind": "soft"},
    ]
    alone = {"prompt": "<mood> a star", "negative_prompt": "<s1>", "embeddings": ["mood"]}
    assert assembled(drawn) == alone
    whole = assembled([*drawn, {"picture.seed": 1, "mask.seed": 2}, {"refiner.mode": "image"}])
    assert whole["refiner"] == {"mode": "image", "guidance_scale": 2.0}
    assert whole.keys() - alone == {"refiner", "image", "mask_image", "strength", "padding_mask_crop"}


def compared(**fields: Any) -> Comparison:
    """A set in which nothing is wrong, but for these fields."""
    spec = RenderSpec(prompt="a")
    chosen = ParameterSet({}, spec, spec, 1, {})
    values: dict[str, Any] = {
        "measured": Measured(GREY, {"eta": 9}),
        "alone": GREY,
        "mixed": GREY,
        "single": GREY,
    }
    values["floor"] = Floor(1, 2)
    return Comparison(0, chosen, **{**values, **fields})


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, set()),
        ({"single": GREY + 1}, set()),
        ({"single": GREY + 2}, {"unlike_stock_with_a_bucket_of_one"}),
        ({"single": GREY[:4]}, {"unlike_stock_with_a_bucket_of_one"}),
        ({"alone": GREY + 2, "mixed": GREY + 2}, set()),
        ({"alone": GREY + 3, "mixed": GREY + 3}, {"beyond_the_floor"}),
        ({"alone": GREY + 1, "mixed": GREY + 1, "floor": None}, set()),
        ({"alone": GREY + 2, "mixed": GREY + 2, "floor": None}, {"beyond_the_floor"}),
        ({"alone": GREY + 1}, {"not_bit_equal"}),
        ({"alone": None}, {"not_bit_equal"}),
        ({"measured": Measured(GREY, {"eta": 8})}, {"void_share"}),
        ({"error": "refused"}, {"failed"}),
    ],
)
def test_each_bound_sees_its_fault_and_no_other(fields: dict[str, Any], wrong: set[str]) -> None:
    bounds = _bounds([compared(**fields)], 0, ["eta"])
    assert {name for name, bound in bounds.items() if not bound["met"]} == wrong


def test_only_a_picture_that_is_more_than_rounding_off_needs_a_floor() -> None:
    assert not compared(mixed=GREY + 1).needs_floor
    assert compared(mixed=GREY + 2).needs_floor
    assert not compared(mixed=None).needs_floor


def test_a_whole_run_asks_that_every_parameter_shows() -> None:
    bounds = _bounds([compared()] * 250, 1, ["eta", "loras"])
    assert bounds["parameters_without_effect"]["value"] == ["loras"]
    assert {name for name, bound in bounds.items() if not bound["met"]} == {
        "parameters_without_effect",
        "pairs_missing",
    }
