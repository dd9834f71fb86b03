"""Models of several kinds out of the tiny one's weights: a scheduler config of their own is all they need."""

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
KINDS = ("tiny", "tiny-velocity", "tiny-edm")
"""As it is; as if it had been trained to predict velocity from no signal on; as if for EDM.

The pictures of the last two are no pictures, but stock must be met there too.
"""
EDM = ("tiny-edm",)
DISCRETE = ("tiny", "tiny-velocity")
ALONE = "-alone"
"""Ends the name of the same model with a bucket of one sample."""


def write_models(folder: Path, tiny: Path) -> Path:
    """Writes the models' folders, with links in place of weights, and their registry.

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
            lines += [
                f"[models.{name}]",
                f'base = "{kind}/base"',
                f'refiner = "{kind}/refiner"',
                f"bucket = {bucket}",
                f'sampler = "{"edm_euler" if kind in EDM else "euler"}"',
                "native_size = [128, 128]",
                "min_size = 64",
                "max_size = 256",
            ]
    path = folder / "models.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def _write_stage(target: Path, source: Path, kind: str) -> None:
    target.mkdir(parents=True)
    for part in source.iterdir():
        if part.is_dir() and part.name != "scheduler":
            (target / part.name).symlink_to(part)
    config = json.loads((source / "scheduler" / "scheduler_config.json").read_text())
    if kind in EDM:
        config = EDM_CONFIG
    elif kind != "tiny":
        config |= ZERO_SNR
    index = json.loads((source / "model_index.json").read_text())
    index["scheduler"][1] = config["_class_name"]
    (target / "model_index.json").write_text(json.dumps(index))
    (target / "scheduler").mkdir()
    (target / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
