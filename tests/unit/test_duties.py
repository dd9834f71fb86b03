"""The duties of a scheduler."""

from typing import Any, cast

from latentfarm.settings import Settings
from scheduler.duties import Duties


def test_no_two_duties_hold_each_other_up() -> None:
    nothing = cast("Any", None)
    settings = Settings(
        database_url="postgresql+psycopg://nobody@127.0.0.1:1/none",
        redis_url="redis://127.0.0.1:1/0",
        s3_endpoint_url="http://127.0.0.1:1",
    )
    groups = Duties(nothing, nothing, nothing, settings).groups()
    numbers = [duty.number for group in groups for duty in group]
    assert len(set(numbers)) == len(numbers) > 15
