"""What other tools call a sampler: Replicate's names for SDXL, and diffusers' classes. Each stands for fields of a spec."""

from __future__ import annotations

from latentfarm.errors import InvalidInput
from latentfarm.samplers import SAMPLERS

#: As Replicate's SDXL takes them.
_REPLICATE = {
    "DDIM": {"sampler": "ddim"},
    "DPMSolverMultistep": {"sampler": "dpmpp_2m"},
    "HeunDiscrete": {"sampler": "heun"},
    "KarrasDPM": {"sampler": "dpmpp_2m", "sigma_schedule": "karras"},
    "K_EULER": {"sampler": "euler"},
    "K_EULER_ANCESTRAL": {"sampler": "euler_ancestral"},
    "PNDM": {"sampler": "pndm"},
}
#: A class that several samplers share, with different settings, stands for the first one: the settings of its own.
_CLASSES = {row.cls: {"sampler": name} for name, row in reversed(SAMPLERS.items())}
_OURS = {name: {"sampler": name} for name in SAMPLERS}

NAMES = tuple(dict.fromkeys((*_REPLICATE, *sorted(_CLASSES), *_OURS)))
"""All that can be said."""


def fields_of(name: str, field: str) -> dict[str, str]:
    """The fields of a spec that a name stands for: `sampler`, and `sigma_schedule` where the name says one.

    Args:
        field: where the name was given.

    Raises:
        InvalidInput: there is no such sampler; names those that there are.
    """
    for table in (_REPLICATE, _CLASSES, _OURS):
        if name in table:
            return dict(table[name])
    allowed = f"{', '.join((*_REPLICATE, *_OURS))}; or diffusers' name of the class"
    raise InvalidInput(field, f"no sampler {name[:64]!r}", allowed)
