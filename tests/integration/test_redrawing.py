"""Images that a check finds wanting are rendered again with another seed, and the index tells of it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from latentfarm.errors import ErrorClass
from latentfarm.records import Failure, Saved
from latentfarm.redraws import SEED_STEP, Redraw
from latentfarm.repository import checkpointing, failing, sets
from latentfarm.states import Stage
from tests.drawing import picture
from tests.integration.redrawers import AGAIN, Redrawers, image
from tests.integration.seeding import SEED
from tests.pieces import image_file
from worker.sealing.clearing import Clearing

if TYPE_CHECKING:
    from latentfarm.records import Claimed, ObjectRef
    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store


@pytest.fixture
def ground(repository: Repository, store: S3Store) -> Redrawers:
    return Redrawers(repository, store)


def test_wanting_images_come_again_with_another_seed(ground: Redrawers) -> None:
    dataset = ground.create(12, quality=AGAIN)
    ground.render(image=image)
    keys = dict(ground.rows("SELECT r.ordinal, o.key FROM objects o JOIN renders r ON r.id = o.render_id"))
    first, second = ground.seals()
    wanted = ground.look(first)
    assert isinstance(wanted, Redraw)
    assert [image.reasons for image in wanted.images] == [("dark",), ("duplicate",)]
    assert ground.send_back(wanted)
    ground.check()
    assert ground.rows(
        "SELECT state, stage, ordinal, seed FROM renders WHERE state = 0 ORDER BY ordinal"
    ) == [
        (0, 0, 2, SEED + 2 + SEED_STEP),
        (0, 0, 7, SEED + 7 + SEED_STEP),
    ]
    assert not ground.seals(), "a shard that waits is not packed"
    assert ground.commit(ground.pack(second))
    images = ground.render()
    assert sorted(images) == [2, 7]
    ground.check()
    packed, top = ground.seal_all()
    ground.check()
    rows = ground.index(packed)
    assert [rows[n]["redraws"] for n in range(10)] == [0, 0, 1, 0, 0, 0, 0, 1, 0, 0]
    assert [rows[2][name] for name in ("seed", "rejected", "exhausted")] == [
        SEED + 2 + SEED_STEP,
        [{"seed": SEED + 2, "reasons": ["dark"]}],
        False,
    ]
    stats = ground.stats(packed)
    assert (stats["redrawn"], stats["redrawn_for"], stats["marked"]) == (2, {"dark": 1, "duplicate": 1}, {})
    assert b"another seed: 2 of them, for 1 dark, 1 duplicate." in ground.read(top.files[1])
    assert ground.repository.transact(lambda c: sets.progress(c, dataset)).redrawn == 2
    assert ground.job() == "succeeded"
    Clearing(ground.repository, ground.store).clear()
    assert [ground.store.size(keys[n]) for n in (2, 7)] == [None, None]


def test_what_is_wanting_after_three_seeds_is_kept_and_marked(ground: Redrawers) -> None:
    ground.create(3, quality={"dark": "again"})
    for _ in range(3):
        ground.render(image=lambda n: picture(fill=0) if n == 1 else image_file(n))
        assert ground.send_back(ground.wanted()[1])
        ground.check()
    ground.render(image=lambda _: picture(fill=0))
    packed = ground.seal_all()[0]
    row = ground.index(packed)[1]
    assert (row["seed"], row["redraws"], row["exhausted"], row["dark"]) == (
        SEED + 1 + 3 * SEED_STEP,
        3,
        True,
        True,
    )
    assert [one["seed"] for one in row["rejected"]] == [SEED + 1 + k * SEED_STEP for k in range(3)]
    assert ground.stats(packed)["marked"] == {"dark": 1, "exhausted": 1, "uniform": 1}
    assert [(number, seed) for _, number, seed, _ in ground.tries()] == [
        (k + 1, SEED + 1 + k * SEED_STEP) for k in range(3)
    ]
    assert packed.images == 3
    assert ground.job() == "succeeded"


def test_seeds_go_round_at_the_end_of_their_range(ground: Redrawers) -> None:
    ground.create(1, quality={"dark": "again"}, seed=2**53 - 1)
    ground.render(image=lambda _: picture(fill=0))
    assert ground.send_back(ground.wanted()[1])
    assert ground.rows("SELECT seed FROM renders WHERE ordinal = 0") == [(SEED_STEP - 1,)]


def test_nobody_goes_on_from_a_checkpoint_of_the_seed_before(ground: Redrawers) -> None:
    ground.create(1, quality={"dark": "again"})
    base = ground.worker(Stage.BASE)
    (first,) = ground.claim(base, Stage.BASE)
    ref = ground.store.put("v1/checkpoints/x", b"state", "x/x")
    _save(ground, first, ref)
    ground.repository.transact(lambda c: failing.release(c, [(first.render_id, first.fence)]))
    ground.render(image=lambda _: picture(fill=0))
    assert ground.send_back(ground.wanted()[1])
    (again,) = ground.claim(base, Stage.BASE)
    assert (again.seed, again.checkpoint) == (SEED + SEED_STEP, None)


def _save(ground: Redrawers, claimed: Claimed, ref: ObjectRef) -> None:
    saved = Saved(claimed.render_id, claimed.fence, 2, 2, ref)
    ground.repository.transact(lambda c: checkpointing.plan(c, [saved]))
    assert ground.repository.transact(lambda c: checkpointing.show(c, [saved]))


def test_what_was_not_finite_with_the_seed_before_does_not_count(ground: Redrawers) -> None:
    ground.create(3, quality={"non_finite": "again"})
    base = ground.worker(Stage.BASE)
    first = ground.claim(base, Stage.BASE)[1]
    told = Failure(first.render_id, first.fence, ErrorClass.NON_FINITE, "NaN")
    ground.repository.transact(lambda c: failing.fail(c, [told]))
    left = ground.rows("SELECT id, fence FROM renders WHERE state = 2")
    ground.repository.transact(lambda c: failing.release(c, [(row[0], row[1]) for row in left]))
    ground.repository.transact(lambda c: c.exec_driver_sql("UPDATE renders SET due_at = now()"))
    ground.render()
    _, wanted = ground.wanted()
    assert [(image.render_id, image.reasons) for image in wanted.images] == [
        (first.render_id, ("non_finite",))
    ]
    assert ground.send_back(wanted)
    ground.render()
    packed = ground.seal_all()[0]
    assert [row["non_finite"] for row in ground.index(packed).values()] == [False] * 3


def test_a_black_image_is_nobodys_original(ground: Redrawers) -> None:
    """It goes; what looks like it is not asked to go for that."""
    ground.create(4, quality=AGAIN)
    dim = _dim()
    ground.render(image=lambda n: dim if n in (0, 3) else image_file(n))
    _, wanted = ground.wanted()
    assert [image.reasons for image in wanted.images] == [("dark",), ("dark",)]


def _dim() -> bytes:
    """Black to the eye, and not of one colour, so that it has a hash."""
    buffer = io.BytesIO()
    image = Image.new("RGB", (64, 64))
    image.paste((15, 15, 15), (0, 0, 20, 40))
    image.save(buffer, "png")
    return buffer.getvalue()
