"""Models of several kinds out of the tiny one's weights, and the registry that names them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

ZERO_SNR: dict[str, Any] = {
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}
EDM_CONFIG: dict[str, Any] = {
    "_class_name": "EDMEulerScheduler",
    "sigma_min": 0.002,
    "sigma_max": 80.0,
    "sigma_data": 0.5,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
}
KINDS = ("tiny", "tiny-velocity", "tiny-edm", "tiny-inpaint")
"""As it is; as if trained to predict velocity from no signal on; as if for EDM; with a UNet that is
shown picture and mask.

The pictures of the middle two are no pictures, but stock must be met there too.
"""
EDM = ("tiny-edm",)
DISCRETE = ("tiny", "tiny-velocity", "tiny-inpaint")
NINE_CHANNELS = ("tiny-inpaint",)
LORAS = {"plain": "base", "kohya": "base", "unet.only": "base", "for-refiner": "refine"}
"""Name and stage; made by `weights.write_weights`."""
EMBEDDINGS = {"mood": "<mood>", "rows": "<s1>"}
"""Name and token."""
ADAPTERS = "adapters"
"""Folder of the LoRAs' and embeddings' files, which all kinds share."""
ALONE = "-alone"
"""Ends the name of the same model with a bucket of one sample."""


def write_models(folder: Path, tiny: Path) -> Path:
    """Writes the models' folders, with links in place of weights, and their registry.

    Nothing but `weights.write_weights` writes the weights that are not tiny's own.

    Args:
        folder: an empty one.
        tiny: the folder of the tiny model.

    Returns:
        The registry's file.
    """
    lines = []
    for kind in KINDS:
        for stage in ("base", "refiner"):
            _write_stage(folder / kind / stage, (tiny / stage).resolve(), kind)
        for name, bucket in ((kind, 8), (kind + ALONE, 1)):
            lines += _entry(name, kind, bucket)
    path = folder / "models.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def _entry(name: str, kind: str, bucket: int) -> list[str]:
    return [
        f"[models.{name}]",
        f'base = "{kind}/base"',
        f'refiner = "{kind}/refiner"',
        f"bucket = {bucket}",
        f'sampler = "{"edm_euler" if kind in EDM else "euler"}"',
        "native_size = [128, 128]",
        "min_size = 64",
        "max_size = 256",
        f"[models.{name}.loras]",
        *(
            f'"{lora}" = {{ file = "{ADAPTERS}/{lora}.safetensors", stage = "{stage}" }}'
            for lora, stage in LORAS.items()
        ),
        f"[models.{name}.embeddings]",
        *(
            f'{embedding} = {{ file = "{ADAPTERS}/{embedding}.safetensors", token = "{token}" }}'
            for embedding, token in EMBEDDINGS.items()
        ),
    ]


def _write_stage(target: Path, source: Path, kind: str) -> None:
    target.mkdir(parents=True)
    wide = kind in NINE_CHANNELS and target.name == "base"
    for part in source.iterdir():
        if part.is_dir() and part.name != "scheduler" and not (wide and part.name == "unet"):
            (target / part.name).symlink_to(part)
    if wide:
        config = json.loads((source / "unet" / "config.json").read_text())
        (target / "unet").mkdir()
        (target / "unet" / "config.json").write_text(json.dumps(config | {"in_channels": 9}))
    config = json.loads((source / "scheduler" / "scheduler_config.json").read_text())
    if kind in EDM:
        config = EDM_CONFIG
    elif kind == "tiny-velocity":
        config |= ZERO_SNR
    index = json.loads((source / "model_index.json").read_text())
    index["scheduler"][1] = config["_class_name"]
    (target / "model_index.json").write_text(json.dumps(index))
    (target / "scheduler").mkdir()
    (target / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
