"""Prompts with weights, and prompts that are too long, as a user of the API and the commands meets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latentfarm import Client
from latentfarm.errors import InvalidInput
from latentfarm.pixels import largest_difference, open_picture
from latentfarm.provenance import PARAMETERS, read_provenance
from tests.acceptance.farm import until
from tests.acceptance.test_files import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.farm import Farm

WEIGHTED = "a (large)1.4 red++ circle"
TOO_LONG = {
    "prompt": "red " * 90,
    "prompt_2": "blue " * 91,
    "negative_prompt": "green " * 92,
    "negative_prompt_2": "dark " * 93,
}
PATIENCE_S = 300.0
SMALL = {"num_inference_steps": 4, "width": 64, "height": 64, "seed": 3}


@pytest.fixture
def painting(farm: Farm) -> Farm:
    """A farm with the real engine, which is warm."""
    farm.environment["LATENTFARM_ENGINE"] = "worker.assembly:load"
    farm.api()
    farm.scheduler()
    farm.worker()
    ready = "SELECT count(*) FROM workers WHERE ready AND ended_at IS NULL"
    until("a warm worker", lambda: farm.count(ready), timeout_s=PATIENCE_S)
    return farm


@pytest.mark.long
def test_weights_go_through_both_stages_and_the_picture_can_be_made_again(
    painting: Farm, tmp_path: Path
) -> None:
    words = ("--steps", "4", "--seed", "3", "--width", "64", "--height", "64", "--refiner", "--reproducible")
    files = {}
    for name, more in (("plain", ()), ("weighted", ("--prompt-weighting", "compel"))):
        ran = command(painting, "render", WEIGHTED, *words, *more, "-o", str(tmp_path / name))
        assert ran.returncode == 0, ran.stderr
        (files[name],) = (tmp_path / name).iterdir()
    plain, weighted = (open_picture(path.read_bytes()) for path in files.values())
    assert largest_difference(plain, weighted) > 8
    found = read_provenance(files["weighted"].read_bytes())
    assert (found["spec"]["prompt"], found["spec"]["prompt_weighting"]) == (WEIGHTED, "compel")
    assert weighted.info[PARAMETERS].splitlines()[0] == WEIGHTED
    ran = command(painting, "replay", str(files["weighted"]))
    assert (ran.stdout, ran.returncode) == ("bit-equal\n", 0), ran.stderr


@pytest.mark.long
def test_what_is_wrong_with_a_prompt_is_told_by_the_api(painting: Farm) -> None:
    with Client(painting.url) as client:
        for field, text in (("prompt", "(red:1.2)"), ("negative_prompt", "(a")):
            with pytest.raises(InvalidInput) as refused:
                client.submit({"prompt": "a", field: text, "prompt_weighting": "compel"})
            assert refused.value.field == field
        mismatched = {"prompt": '("a", "b").blend(1)', "prompt_weighting": "compel"}
        ended = client.wait(client.submit(mismatched), timeout=PATIENCE_S)
        assert ended.state == "failed"
        assert (ended.images[0].error or "").startswith("user: prompt: compel cannot read it")
        assert painting.count("SELECT max(starts) FROM renders") == 1
        for more in ({}, {"refiner": {"high_noise_frac": 0.5}}):
            ended = client.wait(client.submit({**TOO_LONG, **SMALL, **more}), timeout=PATIENCE_S)
            assert ended.state == "succeeded"
            warned = ended.images[0].warnings
            assert [line.split(" was cut: ")[0] for line in warned] == list(TOO_LONG)
            assert all(line.endswith("tokens where the encoder reads 77") for line in warned)
            assert read_provenance(client.image(ended))["warnings"] == warned
        fine = client.wait(client.submit({"prompt": "red " * 75, **SMALL}), timeout=PATIENCE_S)
        assert fine.images[0].warnings == []
