"""What verify sees: objects that are gone, altered, cut short, or that no row tells of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from latentfarm.errors import NotFound, TransientError
from latentfarm.ids import new_id
from latentfarm.keys import file_key
from latentfarm.repository import files
from latentfarm.storage import S3Store
from latentfarm.verify.trouble import Kind
from tests.integration.serving import Puppet
from tests.integration.verifying import Verified, ended, keys, own_bucket, rows, submit

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return own_bucket(settings)


@pytest.fixture
def puppet(repository: Repository, store: S3Store) -> Puppet:
    return Puppet(repository, store)


def test_a_sound_job_has_no_trouble(repository: Repository, store: S3Store, puppet: Puppet) -> None:
    job_id, _ = ended(repository, puppet, 3, refiner=True)
    for found in (Verified(repository, store, [job_id]), Verified(repository, store)):
        assert found.told == []
        assert (found.counts.jobs, found.counts.objects) == (1, 6)
        assert found.counts.bytes == sum(item.size for page in store.pages("v1/") for item in page)


@pytest.mark.parametrize(
    ("change", "kind"),
    [("delete", Kind.MISSING), ("flip", Kind.ALTERED), ("cut", Kind.ALTERED), ("grow", Kind.ALTERED)],
)
def test_what_is_not_as_it_was_put_is_told(
    repository: Repository, store: S3Store, puppet: Puppet, change: str, kind: Kind
) -> None:
    job_id, images = ended(repository, puppet, 3)
    data = bytearray(store.read(images[1], most=10_000) or b"")
    if change == "delete":
        store.delete([images[1]])
    else:
        data[len(data) // 2] ^= 1 if change == "flip" else 0
        changed = {"flip": bytes(data), "cut": bytes(data[:-1]), "grow": bytes(data) + b"x"}[change]
        store.put(images[1], changed, "image/png")
    for found in (Verified(repository, store, [job_id]), Verified(repository, store)):
        assert found.kinds == [(kind, images[1])]
        assert found.told[0].what is not None
        assert (found.told[0].what.job_id, found.told[0].what.index) == (job_id, 1)
        assert str(job_id) in found.told[0].line()
    assert rows(repository, "SELECT state FROM renders") == [(3,)] * 3, "it only looked"


def test_what_is_no_picture_is_told_and_left(repository: Repository, store: S3Store, puppet: Puppet) -> None:
    job_id = submit(repository, 1)
    puppet.finish(puppet.claim())
    found = Verified(repository, store, [job_id], repair=True)
    assert [trouble.kind for trouble in found.told] == [Kind.UNREADABLE]
    assert found.done == [""]
    assert rows(repository, "SELECT state FROM renders") == [(3,)]


def test_latents_that_are_gone_are_told(repository: Repository, store: S3Store, puppet: Puppet) -> None:
    job_id, _ = ended(repository, puppet, 2, refiner=True)
    (key,) = store.list_keys("v1/latents/1/")
    store.delete([key])
    assert Verified(repository, store, [job_id]).kinds == [(Kind.MISSING, key)]


def test_what_no_row_tells_of_is_a_stray(repository: Repository, store: S3Store, puppet: Puppet) -> None:
    job_id, _ = ended(repository, puppet, 1)
    strays = ["v1/images/1/77.png", "v1/latents/1/78.safetensors"]
    elsewhere = ["v1/images/9999/1.png", f"v1/inputs/{'ab' * 32}", f"v1/uploads/{new_id()}", "v1/images/x"]
    elsewhere.append(file_key(new_id()))
    beside = ["v1/checkpoints/1/2-3.safetensors", "v2/images/1/1.png", "other"]
    for key in (*strays, *elsewhere, *beside):
        store.put(key, b"stray", "x/x")
    assert Verified(repository, store, [job_id]).kinds == [(Kind.STRAY, key) for key in strays]
    whole = Verified(repository, store)
    assert whole.kinds == sorted((Kind.STRAY, key) for key in (*strays, *elsewhere))
    assert Verified(repository, store, repair=True, after_s=3600).counts.deleted == 0
    assert len(keys(store)) == 9
    assert Verified(repository, store, repair=True).counts.deleted == 6
    # Whoever put the last one, it was not the farm.
    assert Verified(repository, store, repair=True).kinds == [(Kind.STRAY, "v1/images/x")]
    assert set(store.list_keys("")) >= {"v1/images/x", *beside}


def test_an_upload_in_flight_is_no_stray(repository: Repository, store: S3Store, puppet: Puppet) -> None:
    submit(repository, 2)
    for item in puppet.claim():
        store.put(item.key, b"not yet visible", "image/png")
    file = new_id()
    told: dict[str, Any] = {"purpose": "batch", "filename": "a", "size": 1}
    repository.transact(lambda c: files.plan(c, file, tenant="", **told))
    store.put(file_key(file), b"x", "x/x")
    assert Verified(repository, store, repair=True).told == []
    assert len(keys(store)) == 3


def test_what_is_deleted_rightly_meanwhile_is_no_trouble(
    repository: Repository, store: S3Store, puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector came between the look at SQL and the look at the bucket."""
    job_id, _ = ended(repository, puppet, 1, refiner=True)
    (key,) = store.list_keys("v1/latents/")
    read = S3Store.read

    def late(self: S3Store, wanted: str, *, most: int) -> bytes | None:
        if wanted == key:
            rows(repository, "UPDATE objects SET state = 'going' WHERE kind = 'latents' RETURNING 1")
            self.delete([key])
        return read(self, wanted, most=most)

    monkeypatch.setattr(S3Store, "read", late)
    assert Verified(repository, store, [job_id]).told == []


def test_no_job_and_no_store_are_errors(repository: Repository, settings: Settings, puppet: Puppet) -> None:
    job_id, _ = ended(repository, puppet, 1)
    with pytest.raises(NotFound):
        Verified(repository, puppet.store, [new_id()])
    gone = S3Store.from_settings(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:1"}))
    with pytest.raises(TransientError):
        Verified(repository, gone, [job_id])


def command(settings: Settings, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "latentfarm.cli.app", "verify", *words],
        env={**os.environ, **environment, "LATENTFARM_S3_BUCKET": settings.s3_bucket},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_command_tells_one_line_each_and_a_status(
    repository: Repository, store: S3Store, puppet: Puppet, settings: Settings, environment: dict[str, str]
) -> None:
    job_id, images = ended(repository, puppet, 2)
    ran = command(settings, environment, str(job_id))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("1 jobs, 2 objects, ")
    assert ran.stdout.endswith(": sound\n")
    store.delete([images[0]])
    ran = command(settings, environment, "--all", "--repair")
    first, last = ran.stdout.splitlines()
    assert (ran.returncode, ran.stderr) == (1, "")
    assert first == (
        f"MISSING     job {job_id} image 0  {images[0]}: is not in the bucket; will be rendered again"
    )
    assert last.endswith(": 1 troubles, 1 to be rendered again, 0 deleted")
    ran = command(settings, environment, "--all", "--json")
    assert (ran.returncode, json.loads(ran.stdout)["found"]) == (0, [])
    assert command(settings, environment).returncode == 2
    assert command(settings, environment, str(job_id), "--all").returncode == 2
    assert command(settings, environment, "no-id").returncode == 2
    assert command(settings, environment, str(new_id())).returncode == 1
