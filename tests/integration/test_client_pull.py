"""A dataset on this machine: pulled several files at once, stopped half way, verified and repaired."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from latentfarm import Client, client_pull
from latentfarm.cli.app import app
from latentfarm.errors import InvalidInput
from latentfarm.keys import dataset_prefix
from latentfarm.states import Stage
from tests.integration.ground import Ground
from tests.integration.packer import Packer
from tests.integration.serving import serve
from worker.seal.shard import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from typer.testing import Result

    from latentfarm.dataset_views import FileView
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

FILES = 9
"""Three of each shard, and three at the top."""


@pytest.fixture
def client(settings: Settings, repository: Repository, store: S3Store) -> Iterator[Client]:
    """Of an API that has a dataset of two shards."""
    ground = Ground(repository, store)
    ground.create([f"bird {number}" for number in range(4)])
    ground.come_in()
    ground.finish(ground.claim(Stage.BASE))
    Packer(ground, Layout.WEBDATASET).pack_all()
    with serve(settings) as url, Client(url, retry_s=2) as client:
        yield client


def run(client: Client, *words: str) -> Result:
    return CliRunner().invoke(app, ["dataset", *words, "--api", client.datasets.http.base_url])


def told(ran: Result) -> Any:
    """The JSON that a command printed, past what the API logs in this process."""
    assert ran.exit_code in (0, 1), ran.output
    return json.loads("\n".join(line for line in ran.stdout.splitlines() if not line.startswith("20")))


def digests(client: Client) -> dict[str, str]:
    return {file.path: file.sha256 for shard in client.datasets.shards("birds") for file in shard.files}


def found(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }


def test_several_files_come_at_once(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together, begun = threading.Barrier(2), itertools.count()
    fetch = client_pull._fetch

    def met(*given: Any) -> bool:
        if next(begun) < 2:
            together.wait(60)  # would never be passed by one that comes alone
        return fetch(*given)

    monkeypatch.setattr(client_pull, "_fetch", met)
    ran = run(client, "pull", "birds", str(tmp_path), "--jobs", "2", "--json")
    assert ran.exit_code == 0, ran.output
    assert told(ran)["fetched"] == FILES
    assert found(tmp_path) == digests(client)
    assert run(client, "pull", "birds", str(tmp_path), "--jobs", "0").exit_code == 2


def test_a_pull_that_is_interrupted_leaves_whole_files_and_parts(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, stopped = threading.Event(), threading.Event()
    stop, count = client_pull.Reader.stop, client_pull._count

    def tell(_: int) -> None:
        if begun.is_set() or not any(tmp_path.rglob("data/*.part")):
            return
        begun.set()  # in the middle of a shard
        assert stopped.wait(60)

    def counted(pulled: client_pull.Pulled, file: FileView, brought: Future[bool | None]) -> None:
        assert begun.wait(60)
        if (
            brought.done()
        ):  # else it is the very one that is in the middle, and Ctrl-C comes while it is waited for
            count(pulled, file, brought)
        raise KeyboardInterrupt

    def stopping(reader: client_pull.Reader) -> None:
        stop(reader)
        stopped.set()

    monkeypatch.setattr(client_pull, "CHUNK", 64)
    monkeypatch.setattr(client_pull, "_count", counted)
    monkeypatch.setattr(client_pull.Reader, "stop", stopping)
    with pytest.raises(KeyboardInterrupt):
        client_pull.pull(client.datasets, "birds", tmp_path, tell, jobs=2)
    left = found(tmp_path)
    parts = {name for name in left if name.endswith(".part")}
    assert parts
    whole = {name: digest for name, digest in left.items() if name not in parts}
    assert whole.items() <= digests(client).items()
    monkeypatch.undo()
    pulled = client_pull.pull(client.datasets, "birds", tmp_path, lambda _: None)
    assert (pulled.kept, pulled.fetched, pulled.wrong) == (len(whole), FILES - len(whole), [])
    assert found(tmp_path) == digests(client)


def test_a_folder_is_verified_and_repaired(client: Client, store: S3Store, tmp_path: Path) -> None:
    folder = str(tmp_path)
    run(client, "pull", "birds", folder)
    assert run(client, "verify", "birds", folder).exit_code == 0
    (tmp_path / "data" / "train-000001.tar").write_bytes(b"half")
    (tmp_path / "index" / "000000.parquet").unlink()
    broken = ["data/train-000001.tar", "index/000000.parquet"]
    checked = run(client, "verify", "birds", folder, "--json")
    assert checked.exit_code == 1
    assert sorted(one.partition(":")[0] for one in told(checked)["troubles"]) == broken
    assert run(client, "verify", "birds").exit_code == 0  # the farm's own are right
    repaired = run(client, "verify", "birds", folder, "--repair", "--json")
    assert repaired.exit_code == 0, repaired.output
    assert (sorted(told(repaired)["repaired"]), told(repaired)["troubles"]) == (broken, [])
    assert found(tmp_path) == digests(client)
    # What the farm has not got either stays broken, and is told.
    store.delete([f"{dataset_prefix(client.datasets.get('birds').id)}{broken[0]}"])
    (tmp_path / broken[0]).unlink()
    lost = run(client, "verify", "birds", folder, "--repair", "--json")
    assert lost.exit_code == 1
    assert [one.partition(":")[0] for one in told(lost)["troubles"]] == broken[:1]


def test_the_bucket_is_repaired_by_no_command(client: Client) -> None:
    refused = run(client, "verify", "birds", "--repair").exception
    assert isinstance(refused, InvalidInput)
    assert "with a folder" in str(refused)
