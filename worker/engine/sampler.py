"""Builds the sampler of one sample: what diffusers calls a scheduler."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import TYPE_CHECKING, Any

from latentfarm.errors import SpecError
from latentfarm.samplers import SAMPLERS, schedule_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latentfarm.samplers import Sampler
    from latentfarm.spec import RenderSpec


class Samplers:
    """Makes samplers, and remembers each kind as it is before its first use.

    diffusers takes 3 ms to make one from its settings, most of them to read signatures; a copy takes a fifth of
    that. Not safe in threads.
    """

    def __init__(self) -> None:
        # With the config, so that its id stays its own.
        self._unused: dict[tuple[object, ...], tuple[Mapping[str, Any], Any]] = {}

    def build(self, spec: RenderSpec, config: Mapping[str, Any], seed: int) -> Any:
        """A fresh sampler of the spec's kind.

        Args:
            spec: complete; its `sampler` and the fields that set it up are read.
            config: of the model's own scheduler, which the spec's settings are laid over.
            seed: of the image; for samplers that draw from a noise source of their own.

        Raises:
            SpecError: no such sampler.
        """
        row = SAMPLERS.get(spec.sampler or "")
        if row is None:
            raise SpecError(f"no sampler {spec.sampler!r}")
        settings = _settings(spec, row, seed)
        if row.seeds_itself:  # no two images share one
            return _make(row, config, settings)
        kind = (id(config), row.cls, *sorted(settings.items()))
        if kind not in self._unused:
            self._unused[kind] = config, _make(row, config, settings)
        return copy.deepcopy(self._unused[kind][1])


def _make(row: Sampler, config: Mapping[str, Any], settings: Mapping[str, object]) -> Any:
    import diffusers

    return getattr(diffusers, row.cls).from_config(config, **settings)


def _settings(spec: RenderSpec, row: Sampler, seed: int) -> dict[str, object]:
    settings = dict(row.config)
    if spec.sigma_schedule is not None:
        settings |= schedule_settings(row, spec.sigma_schedule)
    if spec.timestep_spacing is not None and row.spacing is not None:
        settings["timestep_spacing"] = spec.timestep_spacing
    if spec.rescale_betas_zero_snr is not None and row.takes_zero_snr:
        settings["rescale_betas_zero_snr"] = spec.rescale_betas_zero_snr
    if row.seeds_itself:
        settings["noise_sampler_seed"] = seed
    return settings


def config_digest(sampler: Any) -> str:
    """SHA-256 of a sampler's class and settings: two stages must agree on it. Its seed does not count."""
    config = {
        key: value
        for key, value in sampler.config.items()
        if not key.startswith("_") and key != "noise_sampler_seed"
    }
    text = json.dumps([type(sampler).__name__, config], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
