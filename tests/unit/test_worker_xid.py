"""What a worker makes of the driver's errors: of lines as the kernel logs them, and of what NVML tells."""

from __future__ import annotations

import re

import pytest

from worker.xid import _DRAIN, _IGNORE, _RESTART, Verdict, meaning, verdict
from worker.xid_watch import XidWatch, nvml_name

R, D, I = Verdict.RESTART, Verdict.DRAIN, Verdict.IGNORE  # noqa: E741 - three columns of a table
#: As the kernel logs them; by NVIDIA's catalog.
LINES = [
    ("NVRM: Xid (PCI:0000:3b:00): 13, pid=2716, Graphics Exception: ESR 0x505648=0x10e", R),
    ("NVRM: Xid (PCI:0000:3b:00): 31, pid=2716, Ch 00000008, MMU Fault: ENGINE GRAPHICS", R),
    ("NVRM: Xid (PCI:0000:3b:00): 43, pid=2716, Ch 00000008", I),
    ("NVRM: Xid (PCI:0000:3b:00): 45, pid=2716, Ch 00000008", I),
    ("NVRM: Xid (PCI:0000:3b:00): 46, GPU stopped processing", D),
    ("NVRM: Xid (PCI:0000:3b:00): 48, DBE (double bit error) ECC Error", D),
    ("NVRM: Xid (PCI:0000:3b:00): 63, Row Remapper: New row marked for remapping", I),
    ("NVRM: Xid (PCI:0000:3b:00): 64, Row Remapper: remapping failure", D),
    ("NVRM: Xid (PCI:0000:3b:00): 74, NVLink: fatal error detected on link 2", D),
    ("NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.", D),
    ("NVRM: Xid (PCI:0000:3b:00): 94, Contained: CE User Channel. RST: No, D-RST: No", R),
    ("NVRM: Xid (PCI:0000:3b:00): 95, Uncontained: LTC TAG. RST: Yes, D-RST: No", D),
    ("NVRM: Xid (PCI:0000:3b:00): 119, Timeout waiting for RPC from GSP!", D),
]


@pytest.mark.parametrize(("line", "wanted"), LINES)
def test_the_right_thing_is_done(line: str, wanted: Verdict) -> None:
    found = re.search(r"Xid \([^)]*\): (\d+)", line)
    assert found
    assert verdict(int(found[1])) is wanted


def test_an_xid_that_nobody_knows_costs_the_child_and_not_the_device() -> None:
    assert verdict(9999) is Verdict.RESTART
    assert meaning(9999).startswith("see NVIDIA")


def test_no_xid_is_in_two_tables() -> None:
    assert len(_DRAIN | _IGNORE | _RESTART) == len(_DRAIN) + len(_IGNORE) + len(_RESTART)
    assert all(meaning(xid) for xid in _DRAIN | _IGNORE | _RESTART)


@pytest.mark.parametrize(
    ("heard", "worst"),
    [
        ([], None),
        ([45, 63], None),
        ([45, 31], (Verdict.RESTART, 31)),
        ([79, 31, 45], (Verdict.DRAIN, 79)),
    ],
)
def test_the_worst_decides(heard: list[int], worst: tuple[Verdict, int] | None) -> None:
    watch = XidWatch("cuda:0")
    for xid in heard:
        watch.hear(xid)
    assert watch.worst() == worst
    assert watch.worst() is None


def test_a_device_without_nvml_is_not_watched() -> None:
    """Neither another kind of device, nor one beside which the library is not installed."""
    for device in ("cpu", "mps", "cuda:0"):
        watch = XidWatch(device)
        watch.run()
        assert watch.worst() is None


@pytest.mark.parametrize(
    ("device", "visible", "name"),
    [
        ("cuda:0", None, 0),
        ("cuda:2", None, 2),
        ("cuda:1", "3, 5", 5),
        ("cuda:0", "GPU-abc,GPU-def", "GPU-abc"),
        ("cuda", "7", 7),
    ],
)
def test_the_device_is_found_among_all_of_the_machine(
    device: str, visible: str | None, name: int | str
) -> None:
    assert nvml_name(device, visible) == name
