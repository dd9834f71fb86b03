"""Values of the wrong kind and past the edges, for every field of every body."""

from __future__ import annotations

from typing import Any

from tests.corpus.case import Case

GOOD = {"prompt": "a red circle", "lane": "bulk"}
LONG = "a" * 8193
WRONG: dict[str, list[Any]] = {
    "integer": ["7", 2.5, True, [7], {"a": 7}, 10**30, -(10**30), ""],
    "number": ["7", True, [1.5], {"a": 1}, -0.001, 1e9],
    "text": [5, True, ["a"], {"a": "b"}, LONG],
    "choice": [5, True, ["euler"], {"a": "b"}, "nonsense", "EULER "],
    "object": [5, "x", [1], True],
    "list": [5, "x", {"a": 1}, True],
    "size": [5, "64x64", {"a": 1}, [1], [1, 2, 3], [-1, 5], ["a", "b"], [1.5, 2], [20_000, 1], [None, 1]],
    "flag": ["yes", 1, 0, "true", [True], {"a": True}],
}
SPEC: dict[str, tuple[str, list[Any]]] = {
    "width": ("integer", [0, -8, 7, 65, 56, 264, 16_392]),
    "height": ("integer", [0, -8, 7, 65, 56, 264, 16_392]),
    "num_images": ("integer", [0, -1, 1001, 10**7, None]),
    "num_inference_steps": ("integer", [0, -1, 201, None]),
    "seed": ("integer", [-1, 2**53, 2**64]),
    "clip_skip": ("integer", [-1, 99]),
    "padding_mask_crop": ("integer", [-1, 16_385]),
    "priority": ("integer", [-11, 11, None]),
    "keep_latents": ("integer", [-1, 604_801, None]),
    "guidance_scale": ("number", [100.1]),
    "guidance_rescale": ("number", [1.1, None]),
    "eta": ("number", [1.1, None]),
    "strength": ("number", [1.1]),
    "retain_days": ("number", [0, 3_651]),
    "prompt": ("text", [None]),
    "prompt_2": ("text", []),
    "negative_prompt": ("text", []),
    "negative_prompt_2": ("text", []),
    "image": ("text", ["", "cat.png", "sha256:00", "data:,x"]),
    "mask_image": ("text", ["", "cat.png", "sha256:" + "0" * 63]),
    "model": ("choice", ["", "m" * 65, None]),
    "sampler": ("choice", ["s" * 65]),
    "sigma_schedule": ("choice", ["linear"]),
    "timestep_spacing": ("choice", ["wide"]),
    "prompt_weighting": ("choice", ["COMPEL"]),
    "lane": ("choice", ["fast", None]),
    "refiner": ("object", [{"mode": "both"}, {"frac": 1}, {"high_noise_frac": 0}, {"high_noise_frac": 1}]),
    "output": (
        "object",
        [{"format": "bmp"}, {"quality": 0}, {"format": "webp", "quality": 101}, {"x": 1}, None],
    ),
    "metadata": ("object", [{"a": 1}, {"a": None}, {"a": "v" * 513}, {"k" * 65: "v"}, {"": "v"}, None]),
    "timesteps": (
        "list",
        [[], [5, 7], [7, 7], [1000], [-1], ["a"], [1.5], [None], list(range(999, 700, -1))],
    ),
    "sigmas": ("list", [[], ["a"], [None], [-1.0], [1001.0]]),
    "loras": ("list", [["x"], [{"name": "x"}], [{"weight": 1}], [{"name": "x", "weight": 99}], [[]]]),
    "embeddings": ("list", [["x"], [5], [""], [None]]),
    "reproducible": ("flag", [None]),
    "rescale_betas_zero_snr": ("flag", []),
    "original_size": ("size", []),
    "target_size": ("size", []),
    "crops_coords_top_left": ("size", []),
    "negative_original_size": ("size", []),
    "negative_target_size": ("size", []),
    "negative_crops_coords_top_left": ("size", []),
}
OPENAI: dict[str, tuple[str, list[Any]]] = {
    "prompt": ("text", [None]),
    "model": ("choice", []),
    "n": ("integer", [0, -1, 11]),
    "size": ("choice", ["64", "64x", "x64", "0x0", "65x65", "-64x64", "64x64x64", "100000x1"]),
    "response_format": ("choice", []),
    "output_format": ("choice", ["gif"]),
    "output_compression": ("integer", [-1, 101]),
    "quality": ("choice", []),
    "background": ("choice", ["transparent"]),
    "stream": ("flag", []),
    "partial_images": ("integer", [-1, 4]),
    "user": ("text", []),
}
OTHERS: dict[str, dict[str, list[Any]]] = {
    "POST /v1/uploads": {
        "size": [0, -1, "7", 2.5, True, None, 10**12],
        "purpose": [5, "video", None],
        "x": [1],
    },
    "POST /v1/keys": {
        "name": [None, 5, "", "a b", "n" * 65, "-a"],
        "scopes": [[], ["root"], "read", [5], None, ["read"] * 5],
        "tenant": [5, "a b", "t" * 65, "../x"],
        "expires_days": [0, -1, 3_651, "7", 1.5],
        "secret": ["mine"],
        "prefix": ["abcd1234"],
    },
    "PATCH /v1/tenants/acme": {
        "weight": [0, -1, 101, "7", True, None],
        "max_in_flight": [-1, 2**31, "7", 1.5],
        "max_queued": [-1, 2**31, "7"],
        "paused": ["yes", 1, None],
        "name": ["other"],
        "used_s": [0],
    },
    "POST /v1/workers/drain": {"worker": [5, None], "all": [True]},
}


WHOLE: dict[str, dict[str, Any]] = {
    "keys": {"name": "n", "scopes": ["read"]},
    "uploads": {"size": 5},
    "workers": {"worker": "w"},
}
"""What a body needs beside the one that is wrong."""
NO_MODEL = ("nonsense", "EULER ")


def cases() -> list[Case]:
    """All of them."""
    found = [
        Case("parameters", 422, _code(name, value), name, body=GOOD | {name: value})
        for name, (kind, more) in SPEC.items()
        for value in [*WRONG[kind], *more]
    ]
    found += [
        Case("parameters", 422, "invalid", name, body=GOOD | {name: 1})
        for name in (
            "id",
            "state",
            "tenant",
            "owner",
            "job_id",
            "created_at",
            "fence",
            "Prompt",
            "prompt ",
            "__proto__",
        )
    ]
    for name, (kind, more) in OPENAI.items():
        for value in [*WRONG[kind], *more]:
            unknown = _code(name, value) == "unknown_model"
            status, code = (404, "model_not_found") if unknown else (400, "invalid")
            found.append(
                Case(
                    "parameters",
                    status,
                    code,
                    name,
                    path="/v1/images/generations",
                    body={"prompt": "a", name: value},
                )
            )
    for route, fields in OTHERS.items():
        method, path = route.split(" ")
        whole = WHOLE.get(path.split("/")[2], {})
        found += [
            Case("parameters", 422, "invalid", name, method, path, whole | {name: value})
            for name, values in fields.items()
            for value in values
        ]
    return found


def _code(name: str, value: object) -> str:
    return "unknown_model" if name == "model" and value in NO_MODEL else "invalid"
