"""Whether a component's tensors are those that its config asks for. Reads headers, no weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch

from latentfarm.errors import ModelError

if TYPE_CHECKING:
    from worker.engine.sources import Component

_NO_WEIGHT = "position_ids"
"""A table of numbers in order, which older files hold and newer networks make themselves."""


def check_shapes(component: Component) -> None:
    """Compares names and shapes; a checkpoint under its original names is left to the loader.

    Raises:
        ModelError: a tensor is missing, unknown, or of another shape.
    """
    from worker.engine.networks import classes

    if component.single or component.name not in classes():
        return
    found = {key: shape for path in component.files for key, shape in _header(path).items()}
    try:
        wanted = _wanted(component)
    except Exception as error:  # whatever a library says about a config, it is the file's fault
        raise ModelError(f"{component.config}/config.json cannot be used: {error}") from error
    missing = sorted(wanted.keys() - found.keys())
    if missing:
        raise ModelError(f"{component.config} lacks {len(missing)} tensors, such as {missing[0]}")
    for key, shape in wanted.items():
        if found[key] != shape:
            raise ModelError(f"{component.config}: {key} is {found[key]}, its config says {shape}")
    unknown = sorted(found.keys() - wanted.keys())
    if unknown:
        raise ModelError(f"{component.config} has {len(unknown)} tensors too many, such as {unknown[0]}")


def _wanted(component: Component) -> dict[str, list[int]]:
    from worker.engine.networks import classes

    network: Any = classes()[component.name]
    with torch.device("meta"):
        if hasattr(network, "load_config"):
            built = network.from_config(network.load_config(component.config, local_files_only=True))
        else:
            built = network(network.config_class.from_pretrained(component.config, local_files_only=True))
    return {_name(key): list(tensor.shape) for key, tensor in built.state_dict().items() if _counts(key)}


def _header(path: Any) -> dict[str, list[int]]:
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {_name(key): one["shape"] for key, one in header.items() if _counts(key)}


def _counts(key: str) -> bool:
    return key != "__metadata__" and not key.endswith(_NO_WEIGHT)


def _name(key: str) -> str:
    """Files of text encoders have a level more than some versions of the network."""
    return key.removeprefix("text_model.")
