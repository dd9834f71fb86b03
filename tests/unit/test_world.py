"""The drawn world: what captions say is what pictures show, and seeds decide the rest."""

import random

import numpy as np
import pytest

from training.drawing import choose_spot
from training.picture import plan_scene, random_captions, random_plan, render
from training.scene import Scene, Thing, caption, leave_open, random_scene
from training.tokenizer import make_tokenizer
from training.words import COLOURS, vocabulary

RED = Scene(Thing("circle", "red", "large", "left"), None, "white", "filled")


def test_captions_read_like_sentences():
    pair = Scene(RED.main, Thing("square", "blue", "small", "right"), "grey", "striped")
    assert caption(RED) == "a large red circle on the left, white background, filled style"
    assert caption(pair, with_style=False) == (
        "a large red circle on the left and a small blue square on the right, grey background"
    )


def test_facts_left_open_are_not_said():
    open_scene = Scene(Thing("circle", None, None, None), None, None, None)
    assert caption(open_scene) == "a circle"


def test_every_word_is_one_token():
    tokenizer = make_tokenizer(vocabulary())
    for word in vocabulary():
        assert len(tokenizer(word).input_ids) == 3, word  # start, word, end


def test_other_words_are_spelt_out_of_bytes():
    tokenizer = make_tokenizer(vocabulary())
    ids = tokenizer("zebra Ünïcode 9").input_ids
    text = str(tokenizer.decode(ids, skip_special_tokens=True))
    assert text.replace(" ", "") == "zebraünïcode9"


def test_the_end_token_has_the_highest_id():
    tokenizer = make_tokenizer(vocabulary())
    assert tokenizer.eos_token_id == len(tokenizer) - 1


def test_two_things_never_touch():
    rng = random.Random(0)
    for _ in range(300):
        scene = random_scene(rng, pair_share=1.0)
        if scene.second is None:
            continue
        one, two = (choose_spot(thing, 128, 128, rng) for thing in (scene.main, scene.second))
        assert max(abs(one.x - two.x), abs(one.y - two.y)) > one.radius + two.radius


def test_a_crop_moves_the_thing_by_its_pixels():
    plan = plan_scene(RED, random.Random(1))
    cropped = type(plan)(**{**vars(plan), "crop": (8, 16)})
    whole, window = np.asarray(render(plan)), np.asarray(render(cropped))
    assert np.array_equal(whole[8:, 16:], window[:-8, :-16])
    assert not np.array_equal(whole, window)


def test_a_small_original_is_a_blurred_picture():
    plan = plan_scene(RED, random.Random(1))
    blurred = type(plan)(**{**vars(plan), "original_size": (32, 32)})
    larger = type(plan)(**{**vars(plan), "original_size": (512, 512)})
    steepest = [
        int(np.abs(np.diff(np.asarray(render(one)).astype(int), axis=1)).max())
        for one in (plan, blurred, larger)
    ]
    assert steepest[1] < 0.6 * steepest[0]
    assert steepest[2] == steepest[0]


def test_noise_lowers_the_score_and_stays_near_the_thing():
    rng = random.Random(2)
    plans = [random_plan(rng) for _ in range(400)]
    noisy = [plan.score for plan in plans if plan.noise > 0.5]
    clean = [plan.score for plan in plans if plan.noise == 0]
    assert max(noisy) < min(clean)
    plan = plan_scene(RED, random.Random(1))
    change = np.abs(
        np.asarray(render(type(plan)(**{**vars(plan), "noise": 1.0}))).astype(int) - np.asarray(render(plan))
    )
    assert change[:, :64].mean() > 5
    assert change[:, 100:].max() == 0


@pytest.mark.parametrize("size", [(64, 64), (128, 96), (96, 192), (256, 256)])
def test_pictures_come_in_any_form(size):
    image = render(random_plan(random.Random(3), size))
    assert image.size == (size[1], size[0])


def test_a_plan_depends_on_its_seed_alone():
    one, two = (random_plan(random.Random(7)) for _ in range(2))
    assert one == two
    assert np.array_equal(np.asarray(render(one)), np.asarray(render(two)))
    assert random_plan(random.Random(8)) != one


def test_an_open_scene_cannot_be_drawn():
    with pytest.raises(ValueError, match="place and a size"):
        plan_scene(Scene(Thing("circle", "red", None, None), None, "white", "filled"), random.Random(0))


def test_style_is_told_to_both_to_the_second_encoder_alone_or_to_none():
    rng = random.Random(4)
    told = [random_captions(RED, rng) for _ in range(300)]
    both = sum("style" in first for first, _ in told)
    second_alone = sum("style" in second and "style" not in first for first, second in told)
    nobody = sum("style" not in second for _, second in told)
    assert min(both, second_alone, nobody) > 45
    assert both + second_alone + nobody == 300
    assert all(
        second == "filled style" for first, second in told if "style" not in first and "style" in second
    )


def test_some_facts_are_left_to_the_seed():
    rng = random.Random(5)
    told = [leave_open(random_scene(rng), rng) for _ in range(400)]
    assert 0.03 < sum(scene.main.colour is None for scene in told) / 400 < 0.2
    assert {scene.main.colour for scene in told} == {None, *COLOURS}
