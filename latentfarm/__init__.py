"""Latentfarm: a render farm for Stable Diffusion XL.

The public names are loaded when first used, so that `import latentfarm.errors` costs nothing
and works on a machine that has only torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latentfarm.client import Client as Client
    from latentfarm.refinement import RefineRequest as RefineRequest
    from latentfarm.spec import RefinerSpec as RefinerSpec
    from latentfarm.spec import RenderSpec as RenderSpec

__version__ = "0.1.0"

_HOMES = {
    "Client": "latentfarm.client",
    "RefineRequest": "latentfarm.refinement",
    "RenderSpec": "latentfarm.spec",
    "RefinerSpec": "latentfarm.spec",
}

__all__ = ["Client", "RefineRequest", "RefinerSpec", "RenderSpec", "__version__"]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'latentfarm' has no attribute {name!r}")
