"""One body for each request that has one: shown at `/docs`, and asked by whoever tries the API out."""

from typing import Any

BODIES: dict[str, dict[str, Any]] = {
    "RenderSpec": {
        "prompt": "a large red circle",
        "width": 128,
        "height": 128,
        "num_inference_steps": 8,
        "num_images": 2,
        "seed": 7,
    },
    "RefineRequest": {"source": "image", "refiner": {"mode": "image", "strength": 0.3}},
    "UploadRequest": {"size": 48_213},
    "DatasetRequest": {
        "name": "circles",
        "manifest": {"prompts": ["a red circle", "a blue circle"]},
        "defaults": {"num_inference_steps": 8},
        "seed": 7,
    },
    "TenantSettings": {"weight": 2.0, "max_in_flight": 64},
    "WorkerChoice": {"worker": "rack-1/cuda:0"},
    "KeyRequest": {"tenant": "acme", "name": "website", "scopes": ["submit", "read"]},
    "RotateRequest": {"overlap_hours": 24},
    "GenerationRequest": {"prompt": "a large red circle", "n": 1, "size": "128x128"},
}
"""By the name of the body's schema."""


def add(document: dict[str, Any]) -> None:
    """Puts the examples beside the schemas of the bodies in an OpenAPI document."""
    for item in document["paths"].values():
        for operation in item.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                name = content["schema"].get("$ref", "").rsplit("/", 1)[-1]
                if name in BODIES:
                    content["example"] = BODIES[name]
