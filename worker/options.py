"""The command line of a worker, and which devices there are. Imports no torch."""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentfarm.errors import InvalidInput
from latentfarm.registry import load_registry
from latentfarm.states import Stage, parse_stages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.registry import ModelEntry, Registry
    from latentfarm.settings import Settings

NO_DEVICE = ("none",)
"""What a worker is on that packs shards. Not the CPU: a device of that name may be sent to rest for what it renders."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a worker serves, and on what."""

    stages: tuple[Stage, ...]
    devices: tuple[str, ...]


def parse(argv: Sequence[str]) -> Options:
    """Reads the command line; exits with a message when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m worker", description="Render on one or more devices.")
    parser.add_argument(
        "--stages",
        default="base,refine",
        help="base, refine, base,refine (default), or seal, which packs datasets and needs no device",
    )
    parser.add_argument(
        "--devices", default="all", help="all (default), cpu, mps, cuda:0, or a list: cuda:0,cuda:1"
    )
    given = parser.parse_args(argv)
    try:
        stages = parse_stages(given.stages)
        return Options(stages, NO_DEVICE if Stage.SEAL in stages else parse_devices(given.devices))
    except InvalidInput as error:
        parser.error(str(error))


def parse_devices(text: str) -> tuple[str, ...]:
    """`all` or a list -> device names as torch writes them.

    Raises:
        InvalidInput: a name that torch does not know.
    """
    if text == "all":
        return found_devices()
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name.split(":")[0] not in {"cpu", "cuda", "mps"}:
            raise InvalidInput("--devices", f"no device {name!r}", "all, cpu, mps, cuda:N")
    if not names:
        raise InvalidInput("--devices", "at least one is needed", "all, cpu, mps, cuda:N")
    return names


def found_devices() -> tuple[str, ...]:
    """Every CUDA device; else mps on Apple silicon; else the CPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        # As CUDA reads it: "-1", or nothing, ends the list.
        names = itertools.takewhile(lambda name: name.strip() not in {"", "-1"}, visible.split(","))
        count = len(list(names))
        if count:
            return tuple(f"cuda:{index}" for index in range(count))
    elif shutil.which("nvidia-smi"):
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
        count = sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
        if count:
            return tuple(f"cuda:{index}" for index in range(count))
    return ("mps",) if (platform.system(), platform.machine()) == ("Darwin", "arm64") else ("cpu",)


def models_of(stages: Sequence[Stage], settings: Settings, names: str | None = None) -> list[ModelEntry]:
    """The entries that a worker with these stages may serve; of shards it needs none.

    Args:
        names: those of them that it holds, comma-separated; as the setting `models` says when absent.

    Raises:
        UnknownModel: a setting names one that is not in the registry.
        InvalidInput: the registry cannot be read.
    """
    if Stage.SEAL in stages:
        return []
    return chosen_models(load_registry(settings.models_file), settings.models if names is None else names)


def chosen_models(registry: Registry, names: str) -> list[ModelEntry]:
    """The entries that a worker may serve.

    Args:
        names: comma-separated; empty: all, without the optional ones whose files are not here.

    Raises:
        UnknownModel: a name that is not in the registry.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if wanted:
        return [registry.get(name) for name in wanted]
    return [entry for entry in registry.entries.values() if entry.here or not entry.optional]


def absent_models(registry: Registry, names: str) -> list[str]:
    """Optional models that a worker leaves out because their files are not on this machine."""
    chosen = {entry.name for entry in chosen_models(registry, names)}
    return [] if names.strip(" ,") else [name for name in registry.entries if name not in chosen]
