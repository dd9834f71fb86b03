"""Latents are lost or altered between the stages: the base stage is done again, and no wrong picture comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.spec import RefinerSpec
from tests.acceptance.farm import until

if TYPE_CHECKING:
    from uuid import UUID

    from latentfarm.storage import S3Store
    from tests.acceptance.farm import Farm

HANDED_OVER = "SELECT count(*) FROM attempts WHERE outcome = 'handed_over'"


def pictures(farm: Farm, store: S3Store, job_id: UUID) -> list[bytes]:
    return [store.get(image.ref) for image in farm.repository.images(job_id) if image.ref is not None]


def test_no_picture_comes_of_latents_that_are_not_what_was_stored(farm: Farm, store: S3Store) -> None:
    farm.scheduler()
    farm.worker("base")
    job_id, undisturbed = (farm.submit(4, send=False, refiner=RefinerSpec()) for _ in range(2))
    until("all latents are there", lambda: farm.count(HANDED_OVER) == 8)
    keys = farm.repository.transact(
        lambda c: (
            c.execute(
                text(
                    "SELECT o.key FROM objects o JOIN renders r ON r.id = o.render_id WHERE r.job_id = :id"
                    " ORDER BY r.ordinal"
                ),
                {"id": job_id},
            )
            .scalars()
            .all()
        )
    )
    data = store.read(keys[0], most=100_000) or b""
    store.delete([keys[0]])
    store.put(keys[1], data[:-1], "x/x")
    # The first byte of the tensor itself: a file that can be read, with other latents in it.
    header = 8 + int.from_bytes(data[:8], "little")
    store.put(keys[2], data[:header] + bytes([data[header] ^ 1]) + data[header + 1 :], "x/x")
    farm.worker("refine")
    farm.wait_done(90)
    farm.assert_sound(8)
    assert pictures(farm, store, job_id) == pictures(farm, store, undisturbed)
    assert farm.count(HANDED_OVER) == 8 + 3
    assert farm.count("SELECT count(*) FROM attempts WHERE error_class = 'latents'") == 3
    # Those that could not be used are on their way out, so that nobody takes them for what was lost.
    shown = "SELECT count(*) FROM objects WHERE kind = 'latents' AND state = 'visible'"
    assert farm.count(shown) == 8
