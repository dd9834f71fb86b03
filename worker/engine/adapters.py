"""The LoRAs of a model: loaded once as stock loads them, and switched between forwards, never fused."""

from __future__ import annotations

import contextlib
import logging
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from latentfarm.errors import ModelError, SpecError
from latentfarm.places import CONVERT
from latentfarm.states import Stage
from worker.engine.sources import Digests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from latentfarm.adapters import LoraEntry
    from latentfarm.places import Place
    from latentfarm.spec import RenderSpec

AdapterSet = tuple[tuple[str, float], ...]
"""Names inside the networks, with weights, in the order of the job: sums are rounded in that order."""
NETWORKS = ("unet", "text_encoder", "text_encoder_2")


@dataclass(slots=True)
class Lora:
    """A LoRA that is in memory.

    Attributes:
        adapter: its name inside the networks, where a user's name might not be allowed.
        digest: SHA-256 of its file; empty where its stage is not served.
    """

    adapter: str
    stage: Stage
    digest: str = ""


@dataclass(slots=True)
class Adapters:
    """All LoRAs of a model, and which of them each network has on.

    A network is switched by whoever is about to run it: the render thread the UNets, the holder of
    `LoadedModel.encoding` the text encoders. With all of them off a network computes bit for bit
    what it did before they were loaded.

    Attributes:
        loaded: by the names that specs use.
        unusable: why a LoRA could not be loaded, by name.
    """

    loaded: dict[str, Lora] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    _on: dict[int, AdapterSet] = field(default_factory=dict)

    def of(self, spec: RenderSpec, stage: Stage) -> AdapterSet:
        """What a spec asks for in one stage.

        Raises:
            ModelError: a LoRA's file could not be used.
            SpecError: there is no such LoRA.
        """
        wanted = []
        for use in spec.loras:
            if use.name in self.unusable:
                raise ModelError(f"LoRA {use.name}: {self.unusable[use.name]}")
            if use.name not in self.loaded:
                raise SpecError(f"model {spec.model} has no LoRA {use.name!r}")
            if self.loaded[use.name].stage is stage:
                wanted.append((self.loaded[use.name].adapter, use.weight))
        return tuple(wanted)

    def named(self, spec: RenderSpec, stage: Stage) -> list[tuple[str, float]]:
        """Names and weights of a spec's LoRAs for one stage, as its user wrote them."""
        return [
            (use.name, use.weight)
            for use in spec.loras
            if use.name in self.loaded and self.loaded[use.name].stage is stage
        ]

    def notes(self, spec: RenderSpec) -> dict[str, str]:
        """What provenance says of a spec's LoRAs: the digests of those files that are here."""
        files = {use.name: self.loaded[use.name].digest for use in spec.loras if use.name in self.loaded}
        known = " ".join(f"{name}={digest}" for name, digest in files.items() if digest)
        return {"loras": known} if known else {}

    def switch(self, network: Any, wanted: AdapterSet) -> None:
        """Puts just these adapters on in one network; nothing happens when they are on already."""
        if not self.loaded or self._on.get(id(network)) == wanted:
            return
        from diffusers.utils.peft_utils import set_adapter_layers, set_weights_and_activate_adapters

        before = self._on.pop(id(network), None)
        if wanted:
            set_weights_and_activate_adapters(
                network, [name for name, _ in wanted], [weight for _, weight in wanted]
            )
        if before is None or bool(before) != bool(wanted):
            set_adapter_layers(network, enabled=bool(wanted))
        _hold_as_stock(network, wanted)
        self._on[id(network)] = wanted


def load_adapters(entries: Mapping[str, LoraEntry], pipelines: Mapping[Stage, Any]) -> Adapters:
    """Loads the LoRAs of the stages that are served. One that cannot be used is noted, not raised."""
    adapters, digests = Adapters(), Digests()
    for index, (name, entry) in enumerate(sorted(entries.items())):
        stage = Stage.BASE if entry.stage == "base" else Stage.REFINE
        lora = Lora(f"lora_{index}", stage)
        try:
            if stage in pipelines:
                lora.digest = digests.of(check_file(entry.place))
                _load(pipelines[stage], entry.place.path, lora.adapter)
        except ModelError as error:
            adapters.unusable[name] = str(error)
        else:
            adapters.loaded[name] = lora
    for pipeline in pipelines.values():
        for network in _networks(pipeline):
            adapters.switch(network, ())
            _hold_as_stock(network, ())  # also where every file was unusable
    return adapters


def _hold_as_stock(network: Any, wanted: AdapterSet) -> None:
    """Loading a LoRA freezes a network's own weights, and matrix products round by whether they are frozen.

    Stock has a network frozen where a LoRA of the job has layers in it, and nowhere else.
    """
    adapted = any(name in getattr(network, "peft_config", {}) for name, _ in wanted)
    for name, parameter in network.named_parameters():
        if "lora_" not in name:
            parameter.requires_grad_(not adapted)


def check_file(place: Place) -> Path:
    """The path of an adapter's file.

    Raises:
        ModelError: it is no .safetensors file.
    """
    if place.pickled:
        raise ModelError(f"{place}: {CONVERT}")
    if not place.single:
        raise ModelError(f"{place} is no .safetensors file")
    return place.path


def _load(pipeline: Any, path: Path, adapter: str) -> None:
    with quiet():
        try:
            pipeline.load_lora_weights(
                str(path.parent),
                weight_name=path.name,
                adapter_name=adapter,
                local_files_only=True,
                use_safetensors=True,
            )
            _check_all_taken(pipeline, path, adapter)
        except ModelError:
            _remove(pipeline, adapter)
            raise
        except Exception as error:  # whatever a library says about a file, it is the file's fault
            _remove(pipeline, adapter)
            raise ModelError(f"{path} does not fit this model: {error}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' reports of what an adapter's file does not hold, and which adapter is active."""
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")
            warnings.filterwarnings("ignore", message="Adapter .* was active which is now deleted")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _check_all_taken(pipeline: Any, path: Path, adapter: str) -> None:
    """Every matrix of the file must have found its layer: the libraries only warn of those that did not."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        names = list(file.keys())
    ends = (".lora_A.weight", ".lora_down.weight", ".lora.down.weight", "_lora.down.weight")
    given = sum(name.endswith((*ends, ".lora_linear_layer.down.weight")) for name in names)
    taken = sum(
        adapter in getattr(layer, "lora_A", ())
        for network in _networks(pipeline)
        for layer in network.modules()
    )
    if given == 0 or taken != given:
        raise ModelError(f"{path} was made for another model: {taken} of its {given} layers are in this one")


def _remove(pipeline: Any, adapter: str) -> None:
    from diffusers.utils.peft_utils import delete_adapter_layers

    for network in _networks(pipeline):
        if adapter in getattr(network, "peft_config", {}):
            delete_adapter_layers(network, adapter)


def _networks(pipeline: Any) -> list[Any]:
    found = (getattr(pipeline, name, None) for name in NETWORKS)
    return [network for network in found if network is not None]
