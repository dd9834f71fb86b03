"""Client and command line against a real API, with a puppet worker behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from PIL.PngImagePlugin import PngInfo

from latentfarm import Client, RenderSpec
from latentfarm.errors import (
    Conflict,
    ErrorClass,
    InvalidInput,
    NotFound,
    RenderError,
    ServiceUnavailable,
    TransientError,
)
from latentfarm.ids import new_id
from latentfarm.keys import upload_key
from latentfarm.provenance import CHUNK, describe, to_json
from latentfarm.references import MAX_INPUT_BYTES
from tests.drawing import picture
from tests.integration.serving import Puppet, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with serve(settings) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


@pytest.fixture
def puppet(repository: Repository, store: S3Store) -> Puppet:
    return Puppet(repository, store)


@pytest.fixture
def working(puppet: Puppet) -> Iterator[Puppet]:
    """A puppet that finishes whatever comes."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.05):
            claimed = puppet.claim()
            if claimed:
                puppet.finish(claimed)

    thread = threading.Thread(target=work)
    thread.start()
    yield puppet
    stop.set()
    thread.join()


def test_submit_wait_and_download(client: Client, working: Puppet, tmp_path: Path) -> None:
    job = client.wait(client.submit(RenderSpec(prompt="a", num_images=3, seed=5)), timeout=60)
    assert (job.state, job.seed, job.remaining) == ("succeeded", 5, 0)
    paths = client.download(job, tmp_path / "new" / "folder")
    assert [path.name for path in paths.values()] == [f"{job.id}-{i:04d}.png" for i in range(3)]
    assert all(path.read_bytes().startswith(b"image ") for path in paths.values())
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == sorted(
        p.name for p in paths.values()
    )
    changed = paths[1]
    changed.write_bytes(b"spoiled")
    kept = paths[0].stat().st_mtime_ns
    client.download(job.id, tmp_path / "new" / "folder")
    assert changed.read_bytes().startswith(b"image ")
    assert paths[0].stat().st_mtime_ns == kept


def test_bytes_that_were_altered_are_not_saved(
    client: Client, puppet: Puppet, store: S3Store, tmp_path: Path
) -> None:
    job = client.submit({"prompt": "a"})
    claimed = puppet.claim()
    puppet.finish(claimed)
    store.put(claimed[0].key, b"altered", "image/png")
    with pytest.raises(TransientError, match="other bytes"):
        client.download(job, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_images_come_through_the_api_when_links_lead_nowhere(
    settings: Settings, repository: Repository, store: S3Store
) -> None:
    hidden = settings.model_copy(update={"s3_public_url": "http://127.0.0.1:1"})
    with serve(hidden) as url, Client(url) as client:
        job = client.submit({"prompt": "a"})
        puppet = Puppet(repository, store)
        files = puppet.finish(puppet.claim())
        assert client.image(job) == files[0]


def test_images_that_are_not_there_say_why(client: Client, puppet: Puppet) -> None:
    job = client.submit({"prompt": "a"})
    with pytest.raises(Conflict, match=r"queued|dispatched"):
        client.image(job)
    puppet.fail(puppet.claim(), ErrorClass.USER, "cannot be drawn")
    with pytest.raises(RenderError, match="cannot be drawn"):
        client.image(job)
    with pytest.raises(NotFound):
        client.image(job, 1)
    with pytest.raises(NotFound):
        client.get(new_id())


def test_the_server_names_the_field_that_does_not_fit_the_model(client: Client) -> None:
    with pytest.raises(InvalidInput) as refused:
        client.submit(RenderSpec(prompt="a", width=1024))
    assert (refused.value.field, refused.value.allowed[:9]) == ("width", "64 to 256")


def test_all_images_of_a_long_job_are_listed(client: Client, puppet: Puppet) -> None:
    job = client.submit({"prompt": "a", "num_images": 250})
    assert [image.index for image in client.images(job)] == list(range(250))
    assert client.cancel(job).state == "cancelled"
    assert client.wait(job).state == "cancelled"
    assert [shown.id for shown in client.list(limit=1).data] == [job.id]


def test_waiting_ends_when_patience_does(client: Client) -> None:
    with pytest.raises(TimeoutError, match="queued"):
        client.wait(client.submit({"prompt": "a"}), timeout=0.3)


def command(url: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "latentfarm.cli.app", *words],
        env={**os.environ, "LATENTFARM_API_URL": url},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_render_saves_pictures_and_prints_how_to_make_them_again(
    url: str, working: Puppet, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ran = command(url, "render", "a red circle", "-o", str(out), "-n", "2", "--seed", "41")
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    job_id = lines[0].split()[0]
    assert lines == [
        f"{job_id}  succeeded  seed 41",
        f"0  seed 41  succeeded  {out}/{job_id}-0000.png",
        f"1  seed 42  succeeded  {out}/{job_id}-0001.png",
    ]
    assert ran.stderr == f"job {job_id}, seed 41\nwarning: prompt was cut\n"
    assert len(list(out.iterdir())) == 2


def test_render_prints_one_json_object(url: str, working: Puppet, tmp_path: Path) -> None:
    ran = command(
        url, "render", "--spec", "-", "-o", str(tmp_path), "--json", stdin='{"prompt": "a", "seed": 3}'
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    shown = json.loads(ran.stdout)
    assert (shown["state"], shown["seed"], shown["spec"]["prompt"]) == ("succeeded", 3, "a")
    assert shown["images"][0]["path"] == str(tmp_path / f"{shown['id']}-0000.png")


def test_a_failed_job_ends_with_1_and_the_reason(
    url: str, puppet: Puppet, client: Client, tmp_path: Path
) -> None:
    job = client.submit({"prompt": "a", "num_images": 2})
    claimed = puppet.claim()
    puppet.finish(claimed[:1])
    puppet.fail(claimed[1:], ErrorClass.USER, "cannot be drawn")
    ran = command(url, "jobs", "watch", str(job.id), "-o", str(tmp_path))
    assert ran.returncode == 1
    assert ran.stdout.splitlines()[-1].endswith("failed     user: cannot be drawn")
    assert len(list(tmp_path.iterdir())) == 1


def test_jobs_are_handed_in_listed_shown_and_cancelled(url: str) -> None:
    handed = json.loads(command(url, "render", "one\nline", "--no-wait", "--json").stdout)
    assert handed["state"] == "queued"
    listed = command(url, "jobs", "list").stdout
    assert listed.split() == [handed["id"], "queued", "0/1", "tiny", "one", "line"]
    assert len(listed.splitlines()) == 1
    shown = [line.split() for line in command(url, "jobs", "show", handed["id"]).stdout.splitlines()]
    assert ["seed", str(handed["seed"])] in shown
    assert ["prompt", "one", "line"] in shown
    assert command(url, "jobs", "cancel", handed["id"]).stdout == f"{handed['id']}  cancelled\n"
    assert json.loads(command(url, "jobs", "show", handed["id"], "--json").stdout)["state"] == "cancelled"
    assert json.loads(command(url, "jobs", "list", "--json").stdout)["data"][0]["id"] == handed["id"]
    missing = command(url, "jobs", "show", str(new_id()))
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr.startswith("latentfarm: no job ")


def test_models_are_listed(url: str) -> None:
    rows = command(url, "models", "list").stdout.splitlines()
    assert rows[1].split() == ["tiny", "128x128", "64-256", "yes", "euler", "none", "none", "none"]
    assert json.loads(command(url, "models", "list", "--json").stdout)["data"][0]["id"] == "tiny"


def test_a_picture_is_uploaded_from_a_path_or_as_bytes(
    client: Client, store: S3Store, tmp_path: Path
) -> None:
    data = picture()
    (tmp_path / "cat.png").write_bytes(data)
    for given in (data, tmp_path / "cat.png", str(tmp_path / "cat.png")):
        upload = client.upload(given)
        assert store.read(upload_key(UUID(upload)), most=len(data)) == data


def test_files_that_cannot_be_uploaded_are_named(client: Client, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot read"):
        client.upload(tmp_path / "nowhere.png")
    for data in (b"", bytes(MAX_INPUT_BYTES + 1)):
        with pytest.raises(InvalidInput, match="bytes"):
            client.upload(data)


def test_a_store_that_users_cannot_reach_is_named(settings: Settings) -> None:
    away = settings.model_copy(update={"s3_public_url": "http://127.0.0.1:1"})
    named = pytest.raises(ServiceUnavailable, match="LATENTFARM_S3_PUBLIC_URL")
    with serve(away) as url, Client(url, retry_s=0.5) as client, named as caught:
        client.upload(picture())
    assert "Signature" not in str(caught.value)


def test_models_tell_the_weights_of_warm_workers(client: Client, puppet: Puppet) -> None:
    assert client.models()[0].hashes == {}
    puppet.repository.mark_ready(puppet.worker, {"models": {"tiny": {"base": "ab", "refine": "cd"}}})
    assert client.models()[0].hashes == {"base": ["ab"], "refine": ["cd"]}


def test_a_replay_with_other_weights_or_another_bucket_is_refused(
    url: str, puppet: Puppet, tmp_path: Path
) -> None:
    puppet.repository.mark_ready(puppet.worker, {"models": {"tiny": {"base": "ab" * 32}}})
    path = tmp_path / "x.png"
    notes = {"bucket": "5", "model_hash": "cd" * 32}
    for recorded, told in (
        (notes, "bucket was 5, is 8; model_hash was cdcdcdcdcd, is ababababab (--anyway"),
        ({"bucket": "8", "model_hash": "ab" * 32, "model": "other"}, "the farm has no model 'other'"),
    ):
        spec = RenderSpec(prompt="a", model=recorded.pop("model", "tiny"))
        path.write_bytes(picture(pnginfo=_chunk(describe(spec, 1, recorded))))
        ran = command(url, "replay", str(path))
        assert (ran.returncode, ran.stdout) == (1, "")
        assert told in ran.stderr


def _chunk(provenance: dict[str, Any]) -> PngInfo:
    info = PngInfo()
    info.add_text(CHUNK, to_json(provenance))
    return info
