"""Devices that failed one render after the other, and rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentfarm.doctor.finding import Finding, look
from latentfarm.repository.resting import resting

if TYPE_CHECKING:
    from sqlalchemy import Engine


def check_devices(engine: Engine) -> list[Finding]:
    """Which devices rest, and for how long."""
    advice = (
        "they start again by themselves; read what their renders say (`latentfarm jobs attempts JOB INDEX`),"
        " and restart the worker once the device is in order"
    )
    return [look("devices at rest", lambda: _rest(engine), advice)]


def _rest(engine: Engine) -> str:
    with engine.connect() as connection:
        found = resting(connection)
    if found:
        raise RuntimeError(
            ", ".join(
                f"{one.device} of {one.host} for {one.left_s:.0f} s (worker {one.worker})" for one in found
            )
        )
    return "none"
