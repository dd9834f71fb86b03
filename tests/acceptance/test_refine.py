"""Refining again, with the real engine: base and refiner in workers of their own, held to stock."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from latentfarm import Client
from latentfarm.errors import SourceGone
from latentfarm.provenance import read_provenance
from latentfarm.registry import load_registry
from latentfarm.spec import RenderSpec
from latentfarm.states import Stage
from tests.acceptance.farm import ROOT
from tests.acceptance.test_files import command

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from latentfarm.views import JobView
    from tests.acceptance.farm import Farm
    from worker.engine.model import LoadedModel

SPEC: dict[str, Any] = {
    "prompt": "a red circle",
    "num_inference_steps": 6,
    "width": 64,
    "height": 64,
    "sampler": "euler_ancestral",
}
AGAIN: dict[str, Any] = {"mode": "image", "strength": 0.4}
OTHER: dict[str, Any] = {"strength": 0.8, "guidance_scale": 8.0, "aesthetic_score": 2.0}


@pytest.fixture
def separate(farm: Farm, tmp_path: Path) -> Farm:
    """The real engine with a bucket of one, as stock has it; each stage in a worker of its own."""
    models = (ROOT / "models" / "models.toml").read_text().replace('"tiny/', f'"{ROOT}/models/tiny/')
    (tmp_path / "models.toml").write_text(models.replace("bucket = 8 ", "bucket = 1 "))
    farm.environment |= {
        "LATENTFARM_ENGINE": "worker.assembly:load",
        "LATENTFARM_MODELS_FILE": str(tmp_path / "models.toml"),
    }
    farm.api()
    farm.scheduler()
    farm.worker("base")
    farm.worker("refine")
    return farm


@pytest.fixture(scope="module")
def tiny() -> LoadedModel:
    # Here and not above: whoever only collects tests has no use for the libraries.
    import torch

    from worker.engine.model import load_model

    torch.set_num_threads(1)
    entry = load_registry(ROOT / "models" / "models.toml").get("tiny")
    return load_model(entry, [Stage.BASE, Stage.REFINE])


def files(client: Client, job: JobView) -> list[bytes]:
    ended = client.wait(job, timeout=400)
    assert ended.state == "succeeded", ended
    return [client.image(ended, index) for index in range(ended.num_images)]


def pixels(data: bytes) -> torch.Tensor:
    import torch

    with Image.open(io.BytesIO(data)) as image:
        return torch.from_numpy(np.array(image.convert("RGB")))


def test_latents_and_images_are_refined_as_by_stock_and_no_base_runs(
    separate: Farm, tiny: LoadedModel, tmp_path: Path
) -> None:
    from tests.rig import largest_difference
    from tests.stock_modes import refined_by_stock, stock_picture

    with Client(separate.url) as client:
        first = client.submit({**SPEC, "seed": 5, "num_images": 2, "refiner": AGAIN})
        before = files(client, first)
        from_latents = client.refine(first, {"refiner": OTHER})
        from_image = client.refine(first, {"source": "image", "indices": [1], "refiner": OTHER})
        latents, (image,) = files(client, from_latents), files(client, from_image)
    for index, data in enumerate(latents):
        given = RenderSpec.model_validate({**SPEC, "refiner": {**AGAIN, **OTHER}})
        assert largest_difference(pixels(data), stock_picture(tiny, given, 5 + index, None)) == 0
    only = RenderSpec.model_validate(
        {**SPEC, "image": "sha256:" + "0" * 64, "refiner": {"mode": "only", **OTHER}}
    )
    with Image.open(io.BytesIO(before[1])) as opened:
        stock = refined_by_stock(tiny, only, 6, opened.convert("RGB"))
    assert largest_difference(pixels(image), stock) == 0
    assert separate.count("SELECT count(*) FROM attempts WHERE stage = 0") == 2
    assert separate.count("SELECT count(*) FROM attempts WHERE stage = 1") == 2 + 2 + 1
    separate.assert_sound(5)
    assert read_provenance(latents[1])["spec"]["refiner"]["strength"] == 0.8
    told = read_provenance(image)
    assert (told["seed"], told["spec"]["refiner"]["mode"]) == (6, "only")
    for name, data in (("latents", latents[1]), ("image", image)):
        (tmp_path / f"{name}.png").write_bytes(data)
        ran = command(separate, "replay", str(tmp_path / f"{name}.png"))
        assert (ran.stdout, ran.returncode) == ("bit-equal\n", 0), ran.stderr


@pytest.mark.long
def test_the_command_saves_what_was_refined(farm: Farm, tmp_path: Path) -> None:
    farm.api()
    farm.scheduler()
    farm.worker("base")
    farm.worker("refine")
    with Client(farm.url) as client:
        job = client.submit({**SPEC, "num_images": 3, "seed": 7, "refiner": {}, "keep_latents": 0})
        client.wait(job, timeout=400)
        ran = command(
            farm,
            "jobs",
            "refine",
            str(job.id),
            "--source",
            "image",
            "--indices",
            "2,0",
            "-o",
            str(tmp_path / "out"),
        )
        assert ran.returncode == 0, ran.stderr
        shown = [line.split()[:4] for line in ran.stdout.splitlines()[1:]]
        assert shown == [["0", "seed", "9", "succeeded"], ["1", "seed", "7", "succeeded"]]
        assert len(list((tmp_path / "out").iterdir())) == 2
        new = client.list(limit=1).data[0]
        assert f"image of {job.id}" in command(farm, "jobs", "show", str(new.id)).stdout
        farm.repository.transact(lambda c: c.exec_driver_sql("DELETE FROM objects WHERE kind = 'latents'"))
        ran = command(farm, "jobs", "refine", str(job.id), "--refiner-guidance-scale", "2")
        assert (ran.returncode, ran.stdout) == (1, "")
        assert "the latents of images 0, 1, 2" in ran.stderr
        with pytest.raises(SourceGone) as caught:
            client.refine(job)
        assert caught.value.code == "latents_gone"
