"""Where a model's files lie: a folder, a file, or a commit of the hub in its cache. Reads none of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
CONVERT = (
    "a pickle runs code when it is read, and is never read here; convert it once:"
    " safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'FILE.safetensors')"
)


def cache_folder() -> Path:
    """Where the hub's own client keeps what it downloaded: its variables decide, not ours."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("HF_HOME", f"{shared}/huggingface")).expanduser() / "hub"


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of the registry: a local path, or a part of a repository at a commit.

    Attributes:
        where: a path; or `owner/name`, or `owner/name/path/in/it`.
        revision: the commit, 40 hexadecimal digits; None: a local path.
        configs: a folder in the diffusers layout whose small files tell what a single file holds.
    """

    where: str
    revision: str | None = None
    configs: str | None = None

    @property
    def repository(self) -> str:
        """`owner/name` of a place on the hub."""
        return "/".join(self.where.split("/")[:2])

    @property
    def inside(self) -> str:
        """Path inside the repository; empty: all of it."""
        return "/".join(self.where.split("/")[2:])

    @property
    def path(self) -> Path:
        """Where it is on this machine, if it is."""
        if self.revision is None:
            return Path(self.where)
        folder = f"models--{self.repository.replace('/', '--')}"
        return cache_folder() / folder / "snapshots" / self.revision / self.inside

    @property
    def single(self) -> bool:
        """Whether one file holds it all."""
        return self.where.endswith(".safetensors")

    @property
    def pickled(self) -> bool:
        """Whether it is a file of a kind that is never read."""
        return Path(self.where).suffix.lower() in PICKLES

    @property
    def config_folder(self) -> Path:
        """The folder with `model_index.json` and the components' configs."""
        return Path(self.configs) if self.single and self.configs else self.path

    def __str__(self) -> str:
        return self.where if self.revision is None else f"{self.where} at {self.revision}"
