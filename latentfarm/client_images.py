"""Images that the client saves as files."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from latentfarm.errors import TransientError

if TYPE_CHECKING:
    import uuid
    from pathlib import Path

    from latentfarm.client import Client
    from latentfarm.views import ImageView, JobSummary, JobView


def download(client: Client, job: JobSummary | uuid.UUID | str, into: Path) -> dict[int, Path]:
    """See `Client.download`."""
    into.mkdir(parents=True, exist_ok=True)
    shown = client.get(job, images=0)
    extension = shown.spec["output"]["format"]
    return {
        image.index: _save(client, shown, image, into / f"{shown.id}-{image.index:04d}.{extension}")
        for image in client.images(job)
        if image.state == "succeeded"
    }


def _save(client: Client, job: JobView, image: ImageView, path: Path) -> Path:
    if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == image.sha256:
        return path
    data = client.image(job, image.index)
    if hashlib.sha256(data).hexdigest() != image.sha256:
        raise TransientError(f"image {image.index} of job {job.id} came with other bytes than were made")
    # Whoever watches the folder sees whole files only.
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
    return path
