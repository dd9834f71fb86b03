"""One training loop for all parts: Adam, warm-up and cosine decay, averaged weights, resumable."""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

Batch = TypeVar("Batch")
_SAVE_EVERY = 200  # steps between checkpoints
_NOTE_EVERY = 20  # steps between lines of the log


@dataclass(frozen=True)
class Course:
    """How long and how fast: `average` is the decay of the averaged weights, 0 for none."""

    steps: int
    rate: float
    warm_up: int = 100
    average: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)

    def rate_at(self, step: int) -> float:
        """Learning rate: rises over `warm_up` steps, then falls along a cosine to a hundredth."""
        if step < self.warm_up:
            return self.rate * (step + 1) / self.warm_up
        done = (step - self.warm_up) / max(1, self.steps - self.warm_up)
        return self.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def fit(
    modules: nn.ModuleDict,
    course: Course,
    batches: Callable[[int], Iterable[Batch]],
    loss_of: Callable[[Batch, int], Tensor],
    checkpoint: Path,
) -> float:
    """Train `modules` in place and return the mean loss of the last tenth.

    `batches(n)` yields from the n-th batch on, so that a run that was killed goes on from
    `checkpoint` as if it had not been. Losses go to the same path with `.jsonl` at its end.
    """
    parameters = [parameter for parameter in modules.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=course.rate, betas=course.betas)
    averaged = [parameter.detach().clone() for parameter in parameters]
    start, losses = _resume(checkpoint, modules, optimiser, averaged)
    modules.train()
    with _progress(checkpoint.stem, course.steps, start) as advance:
        for step, batch in zip(range(start, course.steps), _endless(batches, start), strict=False):
            for group in optimiser.param_groups:
                group["lr"] = course.rate_at(step)
            loss = loss_of(batch, step)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            _blend(averaged, parameters, min(course.average, (1 + step) / (10 + step)))
            losses.append(loss.item())
            advance(losses)
            if (step + 1) % _NOTE_EVERY == 0:
                _note(checkpoint, step + 1, losses[-_NOTE_EVERY:])
            if (step + 1) % _SAVE_EVERY == 0 or step + 1 == course.steps:
                _save(checkpoint, modules, optimiser, averaged, losses)
    _blend(parameters, averaged, 0.0)
    modules.eval()
    tail = losses[-max(1, course.steps // 10) :]
    return sum(tail) / len(tail)


def _endless(batches: Callable[[int], Iterable[Batch]], start: int) -> Iterator[Batch]:
    yield from batches(start)


def _blend(into: list[Any], source: list[Any], keep: float) -> None:
    with torch.no_grad():
        for target, value in zip(into, source, strict=True):
            target.lerp_(value, 1 - keep)


def _save(
    path: Path, modules: nn.Module, optimiser: Any, averaged: list[Tensor], losses: list[float]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "modules": modules.state_dict(),
        "optimiser": optimiser.state_dict(),
        "averaged": averaged,
        "losses": torch.tensor(losses),
    }
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def _resume(
    path: Path, modules: nn.Module, optimiser: Any, averaged: list[Tensor]
) -> tuple[int, list[float]]:
    if not path.exists():
        return 0, []
    state = torch.load(path, weights_only=True)
    modules.load_state_dict(state["modules"])
    optimiser.load_state_dict(state["optimiser"])
    _blend(averaged, state["averaged"], 0.0)
    return len(state["losses"]), state["losses"].tolist()


def _note(path: Path, step: int, losses: list[float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "loss": round(sum(losses) / len(losses), 6)}) + "\n")


class _progress:  # noqa: N801 - used as a `with` statement, like a function
    """A progress bar that shows the mean of the last losses."""

    def __init__(self, name: str, steps: int, start: int) -> None:
        self._bar = Progress(
            TextColumn(name),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
        )
        self._task = self._bar.add_task(name, total=steps, completed=start, loss="")

    def __enter__(self) -> Callable[[list[float]], None]:
        self._bar.start()
        return self._advance

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _advance(self, losses: list[float]) -> None:
        recent = losses[-50:]
        self._bar.update(self._task, advance=1, loss=f"loss {sum(recent) / len(recent):.4f}")
