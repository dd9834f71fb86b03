"""What the driver's errors (Xid) mean for a worker.

From NVIDIA's catalog, https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html, column "Resolution
Bucket (Immediate Action)" for A100 and newer: RESTART_APP is `RESTART`; RESET_GPU, RESTART_BM (the machine) and
those whose text asks for a reset or a reboot are `DRAIN`; IGNORE is `IGNORE`.
"""

from __future__ import annotations

from enum import Enum


class Verdict(Enum):
    """What the parent does."""

    RESTART = "restart"  # the child's context is dead, the device is well: the next child may use it
    DRAIN = "drain"  # the device needs a reset or a reboot: it gets no more work, and somebody is told
    IGNORE = "ignore"  # for the records, or seen by the child itself


_DRAIN = {
    46: "GPU stopped processing",
    48: "double-bit ECC error",
    62: "internal micro-controller halted",
    64: "memory remapping failed",
    74: "NVLink error",
    79: "GPU has fallen off the bus",
    95: "uncontained memory error",
    109: "context switch timed out",
    110: "security fault",
    119: "the GPU's system processor gave no answer",
    120: "error of the GPU's system processor",
    140: "unrecovered ECC error",
    143: "GPU initialization error",
    156: "resource retirement: a reset is needed",
    158: "fatal timeout",
}

_IGNORE = {
    14: "an injected error",
    37: "driver firmware error",
    38: "driver firmware error",
    43: "a program was stopped for a fault of its own; it has seen that itself",
    # Seen after every kill of a child: to restart the next one for it would never end.
    45: "clean-up after a program that ended",
    44: "fault during a context switch",
    63: "memory was remapped",
    66: "illegal access by the driver",
    67: "illegal access by the driver",
    92: "many single-bit ECC errors, all corrected",
    93: "wear limit of the InfoROM",
    106: "test message",
    107: "test message",
    121: "corrected errors of the link to the CPU",
    137: "illegal access of a peer",
    141: "CUDA fast path error",
    154: "says what another Xid needs",
    157: "resource retirement failed; work may go on",
    160: "a channel was retired",
    161: "a channel could not be retired",
}

_RESTART = {
    11: "corrupted push buffer",
    13: "graphics engine exception: a kernel went wrong",
    25: "illegal push buffer",
    31: "memory page fault",
    32: "corrupted push buffer",
    39: "copy engine exception",
    40: "copy engine exception",
    41: "copy engine exception",
    69: "graphics engine class error",
    80: "corrupted data sent to the GPU",
    94: "contained memory error",
}


def verdict(xid: int) -> Verdict:
    """What to do about an Xid. One that nobody knows costs the child, and not the device."""
    if xid in _DRAIN:
        return Verdict.DRAIN
    return Verdict.IGNORE if xid in _IGNORE else Verdict.RESTART


def meaning(xid: int) -> str:
    """A few words for the log."""
    return (_DRAIN | _IGNORE | _RESTART).get(xid, "see NVIDIA's catalog of Xid errors")
