"""Makes the engine that packs shards. Needs no device and no model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import PIL
import pyarrow as pa

from worker.assembly import Assembled
from worker.sealing.clearing import Clearing
from worker.sealing.engine import SealEngine
from worker.sealing.sealer import Sealer

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository
    from latentfarm.storage import Archive
    from worker.sealing.engine import Listener


def assemble(repository: Repository, store: Archive, listener: Listener) -> tuple[SealEngine, Assembled]:
    """The engine, and the same as the child knows engines."""
    engine = SealEngine(Sealer(repository, store), listener, Clearing(repository, store))
    versions = {"pyarrow": pa.__version__, "pillow": PIL.__version__, "numpy": np.__version__}
    return engine, Assembled(engine, {"device_name": "none", "versions": versions, "models": {}})
