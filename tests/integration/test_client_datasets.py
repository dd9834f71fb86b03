"""Client and command line of datasets against a real API, with the scheduler's passes and packed shards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from latentfarm import Client
from latentfarm.cli.app import app
from latentfarm.errors import Ended, InvalidInput, ManifestChanged, ManifestError, RenderError
from latentfarm.keys import dataset_prefix
from latentfarm.states import Stage
from tests.integration.ground import Ground
from tests.integration.packer import Packer
from tests.integration.serving import serve
from worker.seal.shard import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

SMALL = ["--width", "64", "--height", "64", "--steps", "4"]
LINES = "".join(json.dumps({"id": f"b{number}", "prompt": f"bird {number}"}) + "\n" for number in range(4))


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with serve(settings) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, retry_s=2) as client:
        yield client


@pytest.fixture
def ground(repository: Repository, store: S3Store) -> Iterator[Ground]:
    """With both passes running, as in a scheduler."""
    ground = Ground(repository, store)
    ground.arrivals.start()
    yield ground
    ground.arrivals.stop()
    ground.arrivals.join(20)


def run(url: str, *words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["dataset", *words, "--api", url], input=stdin)


def told(ran: Result) -> Any:
    """The JSON that a command printed, past what the passes log in this process."""
    assert ran.exit_code in (0, 1), ran.output
    lines = ran.stdout.splitlines()
    return json.loads("\n".join(line for line in lines if not line.startswith("20")))


def settled(client: Client) -> None:
    while client.datasets.get("birds").phase != "inserted":
        pass


def packed(client: Client, ground: Ground, layout: Layout = Layout.WEBDATASET) -> None:
    client.datasets.create(
        {
            "name": "birds",
            "manifest": {"prompts": [f"bird {number}" for number in range(4)]},
            "defaults": {"num_inference_steps": 4, "width": 64, "height": 64},
            "shard_samples": 3,
            "layout": layout.value,
        }
    )
    settled(client)
    ground.finish(ground.claim(Stage.BASE))
    Packer(ground, layout).pack_all()


def test_a_file_becomes_a_dataset_and_an_error_names_its_line(
    url: str, client: Client, ground: Ground, tmp_path: Path
) -> None:
    file = tmp_path / "birds.jsonl"
    file.write_text(LINES + '{"prompt": "x", "width": 63}\n')
    refused = run(url, "create", "birds", str(file), *SMALL)
    assert isinstance(refused.exception, ManifestError)
    assert (refused.exception.line, refused.exception.field) == (5, "width")
    file.write_text(LINES)
    made = run(url, "create", "birds", str(file), *SMALL, "--seed", "7", "--json")
    assert made.exit_code == 0, made.output
    assert told(made)["counts"]["images"] == 4
    settled(client)
    changed = run(url, "create", "birds", str(file), *SMALL, "--steps", "5")
    assert isinstance(changed.exception, InvalidInput)
    assert "num_inference_steps: 4 before, 5 now" in str(changed.exception)
    again = run(
        url, "create", "birds", "-", *SMALL, "--format", "jsonl", stdin=LINES + '{"prompt": "more"}\n'
    )
    assert again.exit_code == 0, again.output
    assert client.datasets.get("birds").counts.images == 5
    assert "birds" in run(url, "list").output
    shown = run(url, "status", "birds").output
    assert "0 of 5 ended" in shown


def test_a_dry_run_of_a_file_tells_lines_of_the_file(
    url: str, client: Client, ground: Ground, tmp_path: Path
) -> None:
    file = tmp_path / "birds.csv"
    file.write_text("id,prompt\na,a bird\nb,another\n")
    plan = told(run(url, "create", "birds", str(file), *SMALL, "--dry-run", "--json"))
    assert (plan["images"], [one["line"] for one in plan["first"]]) == (2, [2, 3])
    text = run(url, "create", "birds", str(file), *SMALL, "--dry-run").output
    assert "nothing was stored" in text
    file.write_text("id,prompt\na,a bird\na,another\n")
    refused = run(url, "create", "birds", str(file), *SMALL, "--dry-run")
    assert isinstance(refused.exception, ManifestError)
    assert refused.exception.line == 3
    assert client.datasets.list().data == []


def test_prompts_templates_and_sweeps_come_from_options(url: str, client: Client) -> None:
    words = [
        "--prompt",
        "a {red|blue} __kind__",
        "--template",
        "combinatorial",
        "--wildcard",
        "kind=bird,fish",
    ]
    made = run(
        url,
        "create",
        "birds",
        *words,
        *SMALL,
        "--sweep-product",
        "guidance_scale=3,5",
        "--seed",
        "1",
        "--json",
    )
    assert made.exit_code == 0, made.output
    assert told(made)["counts"]["images"] == 8
    report = client.datasets.get("birds").report
    assert report is not None
    assert report.first[0].spec["prompt"] == "a red bird"


def test_errors_of_the_client_are_those_of_the_farm(client: Client, ground: Ground) -> None:
    request: dict[str, Any] = {"name": "birds", "manifest": {"prompts": ["a"]}, "seed": 1}
    client.datasets.create(request)
    settled(client)
    with pytest.raises(ManifestChanged, match="seed: 1 before, 2 now"):
        client.datasets.create(request | {"seed": 2})
    with pytest.raises(ManifestError) as refused:
        client.datasets.create(request | {"name": "fish", "manifest": {"rows": [{"prompt": ""}, {"x": 1}]}})
    assert refused.value.line in (1, 2)
    assert client.datasets.cancel("birds").state == "cancelled"
    with pytest.raises(Ended, match="another name"):
        client.datasets.create(request)


@pytest.mark.parametrize("layout", Layout)
def test_a_dataset_is_pulled_and_verified(
    url: str, client: Client, ground: Ground, tmp_path: Path, layout: Layout
) -> None:
    packed(client, ground, layout)
    assert client.datasets.wait("birds", timeout=20).state == "succeeded"
    assert run(url, "watch", "birds").exit_code == 0
    checked = run(url, "verify", "birds", "--json")
    assert checked.exit_code == 0, checked.output
    found = told(checked)
    assert (found["images"], found["complete"]) == (4, True)
    pulled = run(url, "pull", "birds", str(tmp_path / "out"))
    assert pulled.exit_code == 0, pulled.output
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    ending = layout.extension
    assert names == {
        "manifest.json",
        "README.md",
        "near_duplicates.parquet",
        *(f"data/train-00000{number}.{ending}" for number in range(2)),
        *(f"index/00000{number}{tail}" for number in range(2) for tail in (".parquet", "_stats.json")),
    }


def test_a_pull_goes_on_and_names_what_is_not_right(
    url: str, client: Client, ground: Ground, store: S3Store, tmp_path: Path
) -> None:
    packed(client, ground)
    run(url, "pull", "birds", str(tmp_path))
    kept = tmp_path / "data" / "train-000000.tar"
    stamp = kept.stat().st_mtime_ns
    (tmp_path / "data" / "train-000001.tar").write_bytes(b"half")
    again = told(run(url, "pull", "birds", str(tmp_path), "--json"))
    assert (again["fetched"], again["kept"], again["wrong"]) == (1, 8, [])
    assert kept.stat().st_mtime_ns == stamp
    prefix = dataset_prefix(client.datasets.get("birds").id)
    store.put(f"{prefix}data/train-000000.tar", kept.read_bytes()[:-1] + b"!", "x/x")
    store.delete([f"{prefix}index/000001.parquet"])
    for name in ("data/train-000000.tar", "index/000001.parquet"):
        (tmp_path / name).unlink()
    wrong = run(url, "pull", "birds", str(tmp_path), "--json")
    assert wrong.exit_code == 1
    assert told(wrong)["wrong"] == ["data/train-000000.tar", "index/000001.parquet"]
    assert [path for path in tmp_path.rglob("*") if path.name.endswith(".part")] == []
    assert not kept.exists()
    checked = run(url, "verify", "birds", "--json")
    assert checked.exit_code == 1
    troubles = told(checked)["troubles"]
    assert [trouble.partition(":")[0] for trouble in troubles] == [
        "data/train-000000.tar",
        "index/000001.parquet",
    ]


def test_the_manifest_of_a_dataset_must_agree_with_its_files(
    url: str, client: Client, ground: Ground, store: S3Store
) -> None:
    packed(client, ground)
    path = "index/000001_stats.json"
    files = [file for shard in client.datasets.shards("birds") for file in shard.files if file.path == path]
    data = b" " * files[0].size
    ref = store.put(f"{dataset_prefix(client.datasets.get('birds').id)}{path}", data, "x/x")
    change = "UPDATE shards SET files = CAST(replace(CAST(files AS text), %s, %s) AS jsonb)"
    ground.repository.transact(
        lambda c: c.exec_driver_sql(change, (files[0].sha256, ref.sha256.hex())).rowcount
    )
    checked = run(url, "verify", "birds", "--json")
    assert checked.exit_code == 1
    assert told(checked)["troubles"] == [f"{path}: the manifest tells of other bytes"]


def test_the_list_of_near_duplicates_must_be_the_one_of_the_manifest(
    url: str, client: Client, ground: Ground, store: S3Store
) -> None:
    packed(client, ground)
    path = "near_duplicates.parquet"
    ref = store.put(f"{dataset_prefix(client.datasets.get('birds').id)}{path}", b"PAR1", "x/x")
    files = ground.rows("SELECT files FROM shards WHERE number = -1")[0][0]
    other = [
        file | {"size": ref.size, "sha256": ref.sha256.hex()} if file["path"] == path else file
        for file in files
    ]
    change = "UPDATE shards SET files = CAST(%s AS jsonb) WHERE number = -1"
    ground.repository.transact(lambda c: c.exec_driver_sql(change, (json.dumps(other),)).rowcount)
    checked = run(url, "verify", "birds", "--json")
    assert told(checked)["troubles"] == [f"{path}: the manifest tells of other bytes"]


def test_failed_images_are_tried_again_by_command(url: str, client: Client, ground: Ground) -> None:
    run(url, "create", "birds", "--prompt", "a", "--prompt", "b", *SMALL)
    settled(client)
    assert run(url, "pause", "birds", "--json").exit_code == 0
    assert client.datasets.get("birds").state == "paused"
    assert "queued" in run(url, "resume", "birds").output
    ground.fail(ground.claim(Stage.BASE))
    assert [one.ordinal for one in client.datasets.failures("birds")] == [0, 1]
    assert "2 (2 user)" in run(url, "status", "birds").output
    assert "2 queued again" in run(url, "retry-failed", "birds").output
    assert run(url, "cancel", "birds", "--json").exit_code == 0
    assert client.datasets.get("birds").state == "cancelled"


def test_create_waits_for_nothing_that_it_was_not_asked_for(url: str, client: Client, store: S3Store) -> None:
    store.put("mine/later.txt", b"a bird\n", "text/plain")
    made = run(url, "create", "birds", "--key", "mine/later.txt", "--no-wait", "--json")
    assert told(made)["state"] == "checking"


def test_what_is_gone_is_said_to_be_gone(url: str, client: Client, ground: Ground, tmp_path: Path) -> None:
    packed(client, ground)
    ground.rows("UPDATE jobs SET results_gone_at = now(), retain_days = 1 RETURNING id")
    with pytest.raises(RenderError, match=r"are gone since 20.* and were kept for 1 days"):
        list(client.datasets.shards("birds"))
    for words in (("pull", "birds", str(tmp_path)), ("verify", "birds")):
        ran = run(url, *words)
        assert ran.exit_code == 1
        assert "are gone since" in str(ran.exception)
    assert list(tmp_path.iterdir()) == []
    assert "gone since" in run(url, "status", "birds").stdout
