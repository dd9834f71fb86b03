"""What the soak calls growth: a leak is told of, and noise is not."""

from __future__ import annotations

import math
from typing import Any

from tests.chaos.trials.census import EVERY_S
from tests.chaos.trials.flatness import Level, level, levels
from tests.chaos.trials.growth import MIB, slopes

LOOKS = 60
PER_LOOK = 150


def samples(
    *,
    leak_mib: float = 0.0,
    files: float = 0.0,
    role: str = "child",
    lives: int = 1,
    bytes_more: float = 0.0,
    per_look: int = PER_LOOK,
    fills_for: int = 3,
) -> list[dict[str, Any]]:
    """A process of 200 MiB that fills a cache, 5 MiB at each look, and leaks so much in 1,000 renders."""
    found = []
    for number in range(LOOKS):
        done = number * per_look
        filled = min(number, fills_for) * 5 * MIB
        size = 200 * MIB + filled + leak_mib * MIB * done / 1000 + (number % 3) * MIB / 4
        process = {
            "role": role,
            "life": f"{number * lives // LOOKS}",
            "rss": size,
            "own": 100 * MIB,
            "files": 30 + int(files * number),
            "threads": 20,
        }
        rows = 1000 + done
        table = {"rows": rows, "dead": 5, "bytes": rows * (200 + bytes_more * number)}
        found.append(
            {
                "t": number * EVERY_S,
                "done": done,
                "processes": [process],
                "sql_connections": 40,
                "tables": {"renders": table},
            }
        )
    return found


def test_a_leak_shows_as_a_slope_and_warming_up_does_not() -> None:
    (sound,), (leaking,) = slopes(samples()), slopes(samples(leak_mib=2.0))
    assert abs(sound.mib) < 0.2
    assert 1.8 < leaking.mib < 2.2


def test_a_leak_shows_in_the_lives_of_a_process_that_is_killed_now_and_then() -> None:
    found = slopes(samples(leak_mib=2.0, lives=3))
    assert len(found) == 3
    assert all(slope.mib > 1.5 for slope in found)


def test_a_long_life_has_more_time_to_fill_its_caches_and_none_to_leak() -> None:
    (short,), (long,) = slopes(samples(fills_for=20)), slopes(samples(fills_for=20, per_look=300))
    assert short.mib > 1.0
    assert abs(long.mib) < 0.2
    (leaking,) = slopes(samples(fills_for=20, per_look=300, leak_mib=2.0))
    assert 1.8 < leaking.mib < 2.2


def test_a_life_that_was_too_short_is_not_judged() -> None:
    assert slopes(samples(lives=10)) == []


def test_shared_buffers_are_no_growth_of_a_session() -> None:
    (found,) = slopes(samples(leak_mib=5.0, role="session"))
    assert found.mib == 0


def test_files_that_stay_open_are_told_of() -> None:
    flat, growing = levels(samples())["child: files"], levels(samples(files=0.5))["child: files"]
    assert flat.after <= flat.most
    assert growing.after > growing.most


def test_a_table_that_keeps_its_rows_is_judged_by_the_size_of_a_row() -> None:
    flat = levels(samples())["table renders, bytes for each row"]
    bloated = levels(samples(bytes_more=2.0))["table renders, bytes for each row"]
    assert flat.after <= flat.most
    assert bloated.after > bloated.most


def test_what_was_never_seen_is_not_flat() -> None:
    found = level(samples(), lambda one: one.get("redis_keys"))
    assert math.isnan(found.after)
    assert not found.after <= found.most
    assert not Level(1.0, math.nan).after <= Level(1.0, math.nan).most
