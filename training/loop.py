"""One training loop for all parts: Adam, warm-up and cosine decay, averaged weights, resumable."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.share import average_gradients, processes, rank

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
    batches: Callable[[range], Iterable[Batch]],
    loss_of: Callable[[Batch, int], Tensor],
    checkpoint: Path,
) -> float:
    """Train `modules` in place and return the mean loss of the last tenth.

    `batches(numbers)` yields the batches of these numbers and `loss_of(batch, number)` draws its
    chance from the number alone: a run that was killed goes on from `checkpoint` as if it had not
    been. Losses go to the same path with `.jsonl` at its end.
    """
    run = _Run(modules, course, checkpoint)
    run.resume()
    modules.train()
    with _progress(checkpoint.stem, course.steps, run.done) as advance:
        numbers = range(run.done * processes() + rank(), course.steps * processes(), processes())
        for number, batch in zip(numbers, batches(numbers), strict=True):
            run.descend(loss_of(batch, number))
            advance(run.losses)
            if rank() == 0 and run.done % _NOTE_EVERY == 0:
                run.note()
            if rank() == 0 and (run.done % _SAVE_EVERY == 0 or run.done == course.steps):
                run.save()
    run.take_average()
    modules.eval()
    tail = run.losses[-max(1, course.steps // 10) :]
    return sum(tail) / len(tail)


class _Run:
    """Weights, optimiser, averages and losses of one course."""

    def __init__(self, modules: nn.ModuleDict, course: Course, checkpoint: Path) -> None:
        self._modules, self._course, self._path = modules, course, checkpoint
        self._parameters = [value for value in modules.parameters() if value.requires_grad]
        self._optimiser = torch.optim.Adam(self._parameters, lr=course.rate, betas=course.betas)
        self._averaged = [value.detach().clone() for value in self._parameters]
        self.losses: list[float] = []

    @property
    def done(self) -> int:
        """Steps taken so far."""
        return len(self.losses)

    def descend(self, loss: Tensor) -> None:
        """One step of the optimiser."""
        step = self.done
        for group in self._optimiser.param_groups:
            group["lr"] = self._course.rate_at(step)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(self._parameters)
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimiser.step()
        _blend(self._averaged, self._parameters, min(self._course.average, (1 + step) / (10 + step)))
        self.losses.append(loss.item())

    def take_average(self) -> None:
        """Put the averaged weights in the place of the last ones."""
        _blend(self._parameters, self._averaged, 0.0)

    def note(self) -> None:
        """Add the mean of the last losses to the log."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        recent = self.losses[-_NOTE_EVERY:]
        line = json.dumps({"step": self.done, "loss": round(sum(recent) / len(recent), 6)})
        with self._path.with_suffix(".jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def save(self) -> None:
        """Write the checkpoint; a death while writing leaves the last one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        state = {f"module.{name}": value for name, value in self._modules.state_dict().items()}
        for number, (value, mean) in enumerate(zip(self._parameters, self._averaged, strict=True)):
            state[f"averaged.{number}"] = mean
            for name, moment in self._optimiser.state[value].items():
                state[f"adam.{number}.{name}"] = moment
        state["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        part = self._path.with_suffix(".part")
        save_file({name: value.contiguous() for name, value in state.items()}, part)
        part.replace(self._path)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        if not self._path.exists():
            return
        state = load_file(self._path)
        self.losses = state.pop("losses").tolist()
        for name, value in state.items():
            kind, number, *rest = name.split(".")
            if kind == "averaged":
                self._averaged[int(number)].copy_(value)
            elif kind == "adam":
                parameter = self._parameters[int(number)]
                # Adam counts its steps on the CPU, wherever the weights are.
                kept = value if rest[0] == "step" else value.to(parameter.device)
                self._optimiser.state[parameter][rest[0]] = kept
        modules = {name.removeprefix("module."): state[name] for name in state if name.startswith("module.")}
        self._modules.load_state_dict(modules)


@torch.no_grad()
def _blend(into: Sequence[Tensor], source: Sequence[Tensor], keep: float) -> None:
    for target, value in zip(into, source, strict=True):
        target.lerp_(value, 1 - keep)


@contextmanager
def _progress(name: str, steps: int, start: int) -> Iterator[Callable[[list[float]], None]]:
    """A progress bar that shows the mean of the last losses."""
    shown = TextColumn("{task.fields[loss]}")
    with Progress(TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), shown) as bar:
        task = bar.add_task(name, total=steps, completed=start, loss="")

        def advance(losses: list[float]) -> None:
            recent = losses[-50:]
            bar.update(task, advance=1, loss=f"loss {sum(recent) / len(recent):.4f}")

        yield advance
