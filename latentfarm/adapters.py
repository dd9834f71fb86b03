"""LoRAs and embeddings: what the registry says of them, how a spec asks for them, and whether the two fit."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from latentfarm.errors import InvalidInput
from latentfarm.lora_facts import misfit
from latentfarm.modes import first_stage
from latentfarm.places import Place
from latentfarm.states import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latentfarm.registry import ModelEntry
    from latentfarm.spec import RenderSpec

MAX_WEIGHT = 4.0
MAX_ADAPTERS = 8
Commit = Annotated[str, StringConstraints(pattern="^[0-9a-f]{40}$")]
AdapterName = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LoraUse(_Frozen):
    """One LoRA of a spec."""

    name: AdapterName = Field(description="Name of a LoRA in the model's entry.")
    weight: float = Field(
        1.0, ge=-MAX_WEIGHT, le=MAX_WEIGHT, description="Strength of the LoRA, 0: none, below 0: the reverse."
    )


class LoraEntry(_Frozen):
    """A LoRA of one model, in the key layout of peft, diffusers or kohya."""

    file: str = Field(description="A .safetensors file; with `revision` `owner/name/file` of the hub.")
    revision: Commit | None = None
    stage: Literal["base", "refine"] = Field("base", description="The stage that it was trained for.")

    @property
    def place(self) -> Place:
        """Where the file is."""
        return Place(self.file, self.revision)


class EmbeddingEntry(_Frozen):
    """A textual inversion: rows `clip_l` and `clip_g`, for the two encoders, in one file."""

    file: str = Field(description="A .safetensors file; with `revision` `owner/name/file` of the hub.")
    revision: Commit | None = None
    token: str | None = Field(
        None, pattern=r"^\S{1,64}$", description="What prompts write for it; `<name>` when absent."
    )

    @property
    def place(self) -> Place:
        """Where the file is."""
        return Place(self.file, self.revision)


def check_adapters(spec: RenderSpec, entry: ModelEntry) -> None:
    """Checks the names that a spec gives against those of its model.

    Raises:
        InvalidInput: an unknown name, a name or token given twice, or a LoRA of a stage that the spec
            does not go through.
    """
    names = [use.name for use in spec.loras]
    _known("loras", names, entry.loras, entry.name)
    _known("embeddings", spec.embeddings, entry.embeddings, entry.name)
    _once("loras", names)
    _once("embeddings", [entry.token_of(name) for name in spec.embeddings])
    for index, name in enumerate(names):
        if entry.loras[name].stage == "refine" and spec.refiner is None:
            raise InvalidInput(
                f"loras.{index}.name", f"{name} belongs to the refiner, which the job leaves out", "a refiner"
            )
        if entry.loras[name].stage == "base" and first_stage(spec) is Stage.REFINE:
            raise InvalidInput(
                f"loras.{index}.name",
                f"{name} belongs to the base, which the job leaves out",
                "of the refiner",
            )
        if reason := misfit(entry, name):
            raise InvalidInput(f"loras.{index}.name", f"{name} {reason}")


def _known(field: str, names: Iterable[str], known: Iterable[str], model: str) -> None:
    allowed = sorted(known)
    for index, name in enumerate(names):
        if name not in allowed:
            where = f"{field}.{index}.name" if field == "loras" else f"{field}.{index}"
            raise InvalidInput(where, f"model {model} has no {name!r}", ", ".join(allowed) or "none")


def _once(field: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise InvalidInput(field, f"{name} is named {count} times", "each once")
