"""`python -m worker.examine NAME`: what is wrong with a model's files, one line each. Holds no weights."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from latentfarm.errors import ModelError
from latentfarm.lora_facts import misfit
from latentfarm.registry import load_registry
from latentfarm.settings import Settings
from latentfarm.states import Stage

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry


def examine(entry: ModelEntry) -> list[str]:
    """Everything that would keep a worker from rendering with a model, as far as headers tell."""
    from worker.engine.adapters import check_file
    from worker.engine.shapes import check_shapes
    from worker.engine.sources import source_of
    from worker.engine.weights import check_whole

    wrong = []
    stages = [Stage.BASE, Stage.REFINE] if entry.refiner else [Stage.BASE]
    for stage in stages:
        try:
            source = source_of(entry, stage, entry.dtype)
            for component in source.components:
                for path in component.files:
                    check_whole(path)
                check_shapes(component)
        except ModelError as error:
            wrong.append(f"{stage.label}: {error}")
    adapters = {f"LoRA {name}": one.place for name, one in entry.loras.items()}
    adapters |= {f"embedding {name}": one.place for name, one in entry.embeddings.items()}
    for part, place in adapters.items():
        try:
            check_whole(check_file(place))
        except ModelError as error:
            wrong.append(f"{part}: {error}")
    found = ((name, misfit(entry, name)) for name in entry.loras)
    return wrong + [f"LoRA {name}: {reason}" for name, reason in found if reason]


def main() -> int:
    """Prints what is wrong; 1 when anything is."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    entry = load_registry(Settings().models_file).get(sys.argv[1])
    wrong = examine(entry)
    for line in wrong:
        sys.stdout.write(f"{line}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
