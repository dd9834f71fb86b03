"""The judge says what was drawn, and does not say what was not."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from training.judge import confirms, look
from training.measures import distance_to_ideal, edge_noise, sharpness
from training.picture import plan_scene, render
from training.scene import Scene, Thing, random_scene
from training.scores import judge_accuracy, mark
from training.words import BACKGROUNDS, COLOURS, PLACES, SHAPES, STYLES

RED = Scene(Thing("circle", "red", "large", "left"), None, "white", "filled")


def _drawn(scene: Scene, **changes: object) -> Image.Image:
    plan = plan_scene(scene, random.Random(1))
    return render(type(plan)(**{**vars(plan), **changes}))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("ground", BACKGROUNDS)
def test_shape_style_and_ground(shape, style, ground):
    scene = Scene(Thing(shape, "green", "large", "middle"), None, ground, style)
    assert all(confirms(look(_drawn(scene)), scene).values())


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("size", ["small", "large"])
def test_colour_place_and_size(colour, place, size):
    scene = Scene(Thing("triangle", colour, size, place), None, "grey", "filled")
    assert all(confirms(look(_drawn(scene)), scene).values())


def test_accuracy_on_drawn_pictures():
    shares = judge_accuracy(120)
    assert min(shares.values()) >= 0.97, shares


def test_another_pictures_facts_are_refused():
    rng = random.Random(6)
    scenes = [random_scene(rng) for _ in range(150)]
    images = [render(plan_scene(scene, rng)) for scene in scenes]
    shares = mark(images, [*scenes[1:], scenes[0]])
    assert shares["main"] < 0.12
    assert shares["place"] < 0.35


@pytest.mark.parametrize(
    "wrong",
    [
        replace(RED, main=replace(RED.main, colour="purple")),
        replace(RED, main=replace(RED.main, shape="square")),
        replace(RED, main=replace(RED.main, size="small")),
        replace(RED, main=replace(RED.main, place="middle")),
        replace(RED, background="grey"),
        replace(RED, style="outline"),
    ],
)
def test_one_wrong_fact_is_the_only_one_refused(wrong):
    assert list(confirms(look(_drawn(RED)), wrong).values()).count(False) == 1


def test_an_empty_picture_holds_nothing():
    plain = Image.new("RGB", (128, 128), BACKGROUNDS["white"])
    seen = look(plain)
    assert seen.main is None
    assert seen.background == "white"
    assert not any(value for fact, value in confirms(seen, RED).items() if fact != "background")
    assert math.isnan(distance_to_ideal(plain))


def test_noise_holds_nothing_that_was_asked():
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    facts = confirms(look(Image.fromarray(noise)), RED)
    assert not (facts["colour"] and facts["shape"])


def test_two_things_are_told_apart_and_the_larger_is_the_main_one():
    pair = Scene(RED.main, Thing("square", "blue", "small", "right"), "white", "filled")
    seen = look(_drawn(pair))
    assert [(thing.colour, thing.shape) for thing in seen.things] == [("red", "circle"), ("blue", "square")]


def test_measures_tell_clean_from_spoilt():
    clean, blurred, noisy = _drawn(RED), _drawn(RED, original_size=(32, 32)), _drawn(RED, noise=0.8)
    assert sharpness(blurred) < 0.7 * sharpness(clean)
    assert edge_noise(noisy) > edge_noise(clean) + 5
    assert distance_to_ideal(clean) + 3 < min(distance_to_ideal(blurred), distance_to_ideal(noisy))
