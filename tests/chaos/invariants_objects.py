"""Done means there: what SQL shows is in the bucket, is the right picture, and nothing else is there."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

from latentfarm.states import RenderState
from tests.chaos.expected import SIDE, expected

if TYPE_CHECKING:
    from tests.chaos.evidence import Evidence, Row


def _images(evidence: Evidence) -> list[Row]:
    return [row for row in evidence.objects if row["kind"] == "image" and row["state"] == "visible"]


def duplicates(evidence: Evidence) -> list[str]:
    """A render that succeeded shows one image; any other shows none."""
    shown = Counter(row["render_id"] for row in _images(evidence))
    return [
        f"render {row['id']} ({RenderState(row['state']).label}) shows {shown[row['id']]} images"
        for row in evidence.renders
        if shown[row["id"]] != (1 if row["state"] == RenderState.SUCCEEDED else 0)
    ]


def objects(evidence: Evidence) -> list[str]:
    """Whatever is visible exists, with the size and the digest that SQL has."""
    found = []
    for row in evidence.objects:
        if row["state"] != "visible":
            continue
        data = evidence.data.get(row["key"])
        if data is None:
            found.append(f"{row['key']} is visible and not in the bucket")
        elif len(data) != row["size"] or hashlib.sha256(data).digest() != bytes(row["sha256"]):
            found.append(f"{row['key']} is not what SQL says")
    return found


def pictures(evidence: Evidence) -> list[str]:
    """Every picture is, to the byte, what an undisturbed farm makes of its request."""
    renders = {row["id"]: row for row in evidence.renders}
    plans = evidence.plan_of_jobs()
    found = []
    for row in _images(evidence):
        render = renders[row["render_id"]]
        plan = plans.get(str(render["job_id"]))
        data = evidence.data.get(row["key"])
        if plan is None or data is None:
            continue  # Told of by others.
        body = plan["body"]
        wanted = expected(
            body["seed"] + render["ordinal"], body["num_inference_steps"], refined=body["refiner"] is not None
        )
        if _pixels(data) != wanted:
            found.append(f"{row['key']} is another picture than its request makes")
    return found


def _pixels(data: bytes) -> bytes:
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            return image.convert("RGB").tobytes() if image.size == (SIDE, SIDE) else b"another size"
    except (UnidentifiedImageError, OSError, SyntaxError):
        return b"cannot be read"


def orphans(evidence: Evidence) -> list[str]:
    """After the grace nothing is left that SQL does not show."""
    shown = {row["key"] for row in evidence.objects if row["state"] == "visible"}
    found = [f"{key} is in the bucket and shown by nothing" for key in sorted(set(evidence.listing) - shown)]
    planned = sum(row["state"] == "planned" for row in evidence.objects)
    if planned:
        found.append(f"{planned} objects are planned still")
    if evidence.parts:
        found.append(f"{evidence.parts} multipart uploads are open")
    return found
