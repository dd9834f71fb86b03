"""A farm to be measured: what `latentfarm up` starts, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from latentfarm.embedded.farm import Farm
from latentfarm.embedded.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]


@dataclass(slots=True)
class Running:
    """A farm that is up.

    Attributes:
        url: of its API.
        environment: the settings of its services; with them more processes can be started.
        pids: of its processes and services, by name.
    """

    url: str
    environment: dict[str, str]
    pids: dict[str, int]

    def connect(self) -> psycopg.Connection[Any]:
        """A connection of its own to the farm's database; every statement commits."""
        url = self.environment["LATENTFARM_DATABASE_URL"].replace("+psycopg", "", 1)
        return psycopg.connect(url, autocommit=True)


class _Led(Farm):
    """A farm some of whose services are reached by other addresses than their own."""

    lead: Callable[[dict[str, str]], dict[str, str]] = dict

    def environment(self) -> dict[str, str]:
        """See `Farm.environment`."""
        return self.lead(super().environment())


@contextlib.contextmanager
def farm(
    folder: Path,
    settings: Mapping[str, str],
    *,
    workers: Sequence[str] = ("base,refine",),
    devices: str = "cpu",
    lead: Callable[[dict[str, str]], dict[str, str]] = dict,
) -> Iterator[Running]:
    """Services, API, scheduler and workers, until the block ends.

    Args:
        folder: for data and logs.
        settings: of all processes, over the defaults of production.
        workers: stages of each worker process, such as `base,refine`.
        devices: as `python -m worker --devices` takes them.
        lead: from the settings of the services to those that the farm is given.
    """
    with _only(settings), Stack(folder) as stack:
        started = _Led(stack, ROOT, port=0, workers=workers, devices=devices)
        started.lead = lead
        started.start()
        yield Running(started.url, {**settings, **started.environment()}, stack.supervisor.pids())


@contextlib.contextmanager
def _only(settings: Mapping[str, str]) -> Iterator[None]:
    """What the shell sets must not reach a farm that is measured."""
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("LATENTFARM_")}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in settings:
            os.environ.pop(name, None)
        os.environ.update(before)
