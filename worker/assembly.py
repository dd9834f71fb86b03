"""Makes the engine of a child: loads models, and says what could not be loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from latentfarm.errors import ModelError
from latentfarm.logs import get_logger
from worker.libraries import import_libraries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.registry import ModelEntry
    from latentfarm.states import Stage
    from worker.engine.order import Engine, Listener
    from worker.latents import Framework


@dataclass(frozen=True, slots=True)
class Assembled:
    """An engine that is ready to start.

    Attributes:
        info: device name, versions and model hashes, for the row of the incarnation.
        unusable: models that could not be loaded, with the reason.
        framework: whose arrays the engine takes and gives: torch's, or NumPy's if it does without torch.
    """

    engine: Engine
    info: dict[str, Any] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    framework: Framework = "pt"


class Factory(Protocol):
    """What the setting `engine` names."""

    def __call__(
        self,
        entries: Sequence[ModelEntry],
        stages: Sequence[Stage],
        *,
        device: str,
        threads: int,
        checkpoint_s: float,
        listener: Listener,
    ) -> Assembled:
        """Loads the models and makes the engine.

        Args:
            checkpoint_s: seconds between two checkpoints of a sample; 0: none.
        """


def factory(name: str) -> Factory:
    """`module:function` -> the function."""
    module, _, function = name.partition(":")
    found: Factory = getattr(import_module(module), function)
    return found


def load(
    entries: Sequence[ModelEntry],
    stages: Sequence[Stage],
    *,
    device: str,
    threads: int,
    checkpoint_s: float,
    listener: Listener,
) -> Assembled:
    """The step engine with every model that can be loaded; one that cannot does not stop the others."""
    import_libraries()
    import diffusers
    import torch
    import transformers

    from worker.engine.decode import device_name
    from worker.engine.engine import StepEngine
    from worker.engine.model import LoadedModel, load_model
    from worker.engine.preview import Viewer
    from worker.engine.warmup import compile_nothing_more, warm_up
    from worker.warming import needs_warming, orders_of

    # Before any other thread exists: they inherit it, and the count is part of what makes bits equal.
    torch.set_num_threads(threads)
    models: dict[str, LoadedModel] = {}
    unusable: dict[str, str] = {}
    for entry in entries:
        try:
            model = load_model(entry, stages, device)
            if needs_warming(entry, device):
                warm_up(model, orders_of(entry, model.pipelines), record=entry.speed.cuda_graphs)
            models[entry.name] = model
        except ModelError as error:
            get_logger().error("model_unusable", model=entry.name, error=str(error))
            unusable[entry.name] = str(error)
    if any(entry.speed.compile != "none" for entry in entries):
        compile_nothing_more()
    versions = {"torch": torch.__version__, "diffusers": diffusers.__version__}
    info = {
        "device_name": device_name(torch.device(device)),
        "versions": {**versions, "transformers": transformers.__version__},
        "models": {
            name: {stage.label: digest for stage, digest in model.hashes.items()}
            for name, model in models.items()
        },
    }
    viewer = listener if isinstance(listener, Viewer) else None
    return Assembled(StepEngine(models, listener, checkpoint_s, viewer), info, unusable)
