"""A farm with the real engine and the tiny model, for stock clients; and pictures of theirs, judged."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from latentfarm.database import connect
from latentfarm.pixels import open_picture
from latentfarm.repository.facade import Repository
from tests.acceptance.farm import Farm, until
from tests.own_farm import own_environment
from training.judge import confirms, look
from training.scene import Scene, Thing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from latentfarm.embedded.stack import Stack

SHAPES = ("circle", "square", "triangle")
COLOURS = ("red", "blue", "green", "yellow")


@contextlib.contextmanager
def tiny_farm(stack: Stack, template: str, folder: Path) -> Iterator[Farm]:
    """One that renders and packs; it takes seconds to start."""
    with own_environment(stack, template) as environment:
        engine = connect(environment["LATENTFARM_DATABASE_URL"], pool=4, application="tests")
        with Farm(environment, Repository(engine), folder) as farm:
            farm.environment["LATENTFARM_ENGINE"] = "worker.assembly:load"
            farm.api()
            farm.scheduler()
            farm.worker()
            farm.worker("seal")
            ready = "SELECT count(*) FROM workers WHERE ready AND ended_at IS NULL"
            until("both workers are ready", lambda: farm.count(ready) == 2, 300)
            yield farm
        engine.dispose()


def scene(number: int) -> Scene:
    """The number-th of twelve scenes with one large thing."""
    thing = Thing(SHAPES[number % 3], COLOURS[number // 3 % 4], "large", "middle")
    return Scene(thing, None, "white", "filled")


def shows(data: bytes, wanted: Scene) -> dict[str, bool]:
    """For each fact that a scene tells: is it so in a file's picture?"""
    return confirms(look(open_picture(data)), wanted)
