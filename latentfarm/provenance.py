"""What an image file says about how it was made: our JSON, and the line that other tools read.

PNG: text chunks `latentfarm` and `parameters`. WebP and JPEG: the EXIF tags ImageDescription and
UserComment. No pixels are read here, and nothing needs torch.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError

from latentfarm.errors import InvalidInput
from latentfarm.samplers import SAMPLERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latentfarm.spec import RenderSpec

CHUNK = "latentfarm"
PARAMETERS = "parameters"
EXIF_DESCRIPTION = 0x010E
EXIF_IFD = 0x8769
EXIF_USER_COMMENT = 0x9286
_UNICODE = b"UNICODE\0"


def describe(
    spec: RenderSpec, seed: int, notes: Mapping[str, str], warnings: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The provenance of one image, JSON-ready.

    Args:
        spec: complete.
        seed: of this image.
        notes: what the engine adds: model hash, versions, device, bucket and more.
        warnings: what the user was told about this image.
    """
    return {"spec": spec.picture(), "seed": seed, **notes, "warnings": list(warnings)}


def parameters_line(provenance: Mapping[str, Any]) -> str:
    """The text that image tools know: prompt, negative prompt, then settings in one line."""
    spec = provenance["spec"]
    lines = [spec["prompt"]]
    if spec["negative_prompt"]:
        lines.append(f"Negative prompt: {spec['negative_prompt']}")
    pairs = _settings(provenance) | _refiner(provenance) | {"Version": "latentfarm"}
    return "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in pairs.items())])


def _settings(provenance: Mapping[str, Any]) -> dict[str, object]:
    spec = provenance["spec"]
    # Where the refiner works alone it is, to them, the one model that there was.
    alone = spec["refiner"] if (spec["refiner"] or {}).get("mode") == "only" else None
    row = SAMPLERS.get(spec["sampler"])
    schedule = spec["sigma_schedule"]
    pairs: dict[str, object] = {
        "Steps": (alone or spec)["num_inference_steps"],
        "Sampler": row.label if row else spec["sampler"],
        # Their word for what the sampler does when nobody says.
        "Schedule type": "Automatic" if schedule in (None, "default") else schedule.capitalize(),
        "CFG scale": (alone or spec)["guidance_scale"],
        "Seed": provenance["seed"],
        "Size": f"{spec['width']}x{spec['height']}",
        "Model hash": str(provenance.get("refiner_hash" if alone else "model_hash", ""))[:10],
        "Model": spec["model"],
    }
    if (alone or spec).get("strength") is not None:
        pairs["Denoising strength"] = (alone or spec)["strength"]
    if spec.get("clip_skip") is not None:
        # They count the layer that is read, from the end; diffusers those that are left out.
        pairs["Clip skip"] = spec["clip_skip"] + 1
    if spec.get("prompt_weighting") is not None:
        pairs["Prompt weighting"] = spec["prompt_weighting"]  # not in their syntax
    return pairs


def _refiner(provenance: Mapping[str, Any]) -> dict[str, object]:
    spec = provenance["spec"]
    refiner = spec["refiner"]
    if refiner is None or refiner["mode"] == "only":
        return {}
    name = f"{spec['model']} [{str(provenance.get('refiner_hash', ''))[:10]}]"
    if refiner["mode"] == "image":
        return {"Refiner": name, "Refiner strength": refiner["strength"]}
    return {"Refiner": name, "Refiner switch at": refiner["high_noise_frac"]}


def to_json(provenance: Mapping[str, Any]) -> str:
    """The JSON of a provenance, in ASCII: every format takes it."""
    return json.dumps(provenance, ensure_ascii=True, separators=(",", ":"))


def to_exif(provenance: Mapping[str, Any]) -> Image.Exif:
    """Both texts as EXIF, for the formats that have no text chunks."""
    exif = Image.Exif()
    exif[EXIF_DESCRIPTION] = to_json(provenance)
    comment = _UNICODE + parameters_line(provenance).encode("utf-16-be")
    exif.get_ifd(EXIF_IFD)[EXIF_USER_COMMENT] = comment
    return exif


def read_provenance(data: bytes) -> dict[str, Any]:
    """The provenance of an image file's bytes.

    Raises:
        InvalidInput: no image, or none of ours.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["PNG", "WEBP", "JPEG"]) as image:
            text = image.info.get(CHUNK) if image.format == "PNG" else image.getexif().get(EXIF_DESCRIPTION)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise InvalidInput("file", f"not a readable image: {error}", "PNG, WebP or JPEG") from error
    try:
        found = json.loads(text or "")
    except ValueError:
        found = None
    if not isinstance(found, dict) or "spec" not in found or "seed" not in found:
        raise InvalidInput("file", "the image does not say how it was made")
    return found
