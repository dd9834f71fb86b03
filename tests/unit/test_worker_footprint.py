"""How large another process is."""

from __future__ import annotations

import os

import psutil

from worker import footprint
from worker.footprint import resident_bytes


def test_it_is_about_what_the_system_says() -> None:
    own = resident_bytes(os.getpid())
    assert own is not None
    assert abs(own - psutil.Process().memory_info().rss) < 32 << 20


def test_without_proc_ps_is_asked() -> None:
    own = footprint._asked(os.getpid())
    assert own is not None
    assert abs(own - psutil.Process().memory_info().rss) < 32 << 20


def test_of_a_process_that_is_gone_nobody_can_tell() -> None:
    assert resident_bytes(2**22 + 1) is None
