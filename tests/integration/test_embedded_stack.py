"""The three services as one stack: they answer, keep what they were told, and come back when killed."""

import concurrent.futures
import os
import signal
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import boto3
import psutil
import psycopg
import pytest
import redis
from botocore.config import Config
from botocore.exceptions import ClientError
from redis.backoff import NoBackoff
from redis.retry import Retry

from latentfarm.embedded.errors import FolderBusyError
from latentfarm.embedded.folder import Folder
from latentfarm.embedded.stack import Stack

LOOPBACK = {"127.0.0.1", "::1"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("stack") / "farm") as running:
        yield running


def sql(stack: Stack, **more) -> psycopg.Connection:
    url = stack.environment()["LATENTFARM_DATABASE_URL"]
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True, **more)


def store(stack: Stack, secret: str | None = None):
    env = stack.environment()
    return boto3.client(
        "s3",
        endpoint_url=env["LATENTFARM_S3_ENDPOINT_URL"],
        region_name=env["LATENTFARM_S3_REGION"],
        aws_access_key_id=env["LATENTFARM_S3_ACCESS_KEY_ID"],
        aws_secret_access_key=secret or env["LATENTFARM_S3_SECRET_ACCESS_KEY"],
        config=Config(
            signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}
        ),
    )


def broker(stack: Stack) -> redis.Redis:
    return redis.Redis.from_url(stack.environment()["LATENTFARM_REDIS_URL"], decode_responses=True)


def write_everywhere(stack: Stack, value: str) -> None:
    with sql(stack) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
        connection.execute("INSERT INTO kept VALUES (%s)", (value,))
    with broker(stack) as client:
        client.set(value, value)
    store(stack).put_object(Bucket="latentfarm", Key=value, Body=value.encode())


def read_everywhere(stack: Stack, value: str) -> tuple[bool, str | None, bytes]:
    with sql(stack) as connection:
        row = connection.execute("SELECT 1 FROM kept WHERE value = %s", (value,)).fetchone()
    with broker(stack) as client:
        key = client.get(value)
    return row is not None, key, store(stack).get_object(Bucket="latentfarm", Key=value)["Body"].read()


@pytest.mark.parametrize("name", ["postgres", "redis", "s3"])
def test_a_killed_service_is_back_on_its_port_with_its_data(stack, name):
    write_everywhere(stack, f"before-{name}")
    before = stack.services[name].pid
    stack.services[name].kill()
    assert stack.services[name].wait_ready(30)
    assert stack.services[name].pid != before
    # At once: "ready" must mean that it can be written too.
    write_everywhere(stack, f"after-{name}")
    for value in (f"before-{name}", f"after-{name}"):
        assert read_everywhere(stack, value) == (True, value, value.encode())


def test_a_service_can_be_held_down_and_let_go(stack):
    stack.services["redis"].hold()
    with broker(stack) as client, pytest.raises(redis.ConnectionError):
        client.ping()
    stack.services["redis"].release()
    assert stack.services["redis"].wait_ready(30)


def test_postgres_comes_back_while_a_backend_of_its_last_life_is_busy(stack):
    def compute() -> None:
        with sql(stack) as connection, pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT sum(sqrt(n)) FROM generate_series(1, 100000000000) AS n")

    busy = threading.Thread(target=compute)
    busy.start()
    with sql(stack) as connection:
        while not connection.execute(
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT sum%'"
        ).fetchone():
            time.sleep(0.02)
    began = time.monotonic()
    stack.services["postgres"].kill()
    assert stack.services["postgres"].wait_ready(30)
    assert time.monotonic() - began < 10
    busy.join()


def test_nothing_that_keeps_data_safe_is_turned_off(stack):
    with sql(stack) as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert connection.execute(f"SHOW {name}").fetchone() == ("on",)
    with broker(stack) as client:
        wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
        assert {name: client.config_get(name)[name] for name in wanted} == wanted


def test_every_port_is_on_loopback_only(stack):
    for service in stack.services.values():
        assert service.pid is not None
        listening = [it for it in psutil.Process(service.pid).net_connections() if it.status == "LISTEN"]
        assert listening
        assert {it.laddr.ip for it in listening} <= LOOPBACK


def test_postgres_and_redis_ask_for_the_password(stack):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        sql(stack, password="wrong")
    with broker(stack) as client:
        port = client.connection_pool.connection_kwargs["port"]
    with (
        redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_the_store_refuses_strangers(stack):
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        store(stack, secret="wrong").list_objects_v2(Bucket="latentfarm")
    env = stack.environment()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{env['LATENTFARM_S3_ENDPOINT_URL']}/{env['LATENTFARM_S3_BUCKET']}")


def test_the_store_lets_one_of_many_writers_win_and_signs_links(stack):
    client = store(stack)

    def put(number: int) -> bool:
        try:
            client.put_object(Bucket="latentfarm", Key="race", Body=b"%d" % number, IfNoneMatch="*")
        except ClientError:
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(put, range(16))) == 1
    link = client.generate_presigned_url("get_object", Params={"Bucket": "latentfarm", "Key": "race"})
    with urllib.request.urlopen(link) as answer:
        assert answer.status == 200


def test_passwords_are_not_in_the_process_list(stack):
    secrets = {stack.folder.secret(name) for name in ("postgres", "redis", "s3_secret_access_key")}
    for service in stack.services.values():
        line = " ".join(psutil.Process(service.pid).cmdline())
        assert not any(secret in line for secret in secrets)


def test_an_empty_stack_takes_little_disk(stack):
    sizes = [path.stat().st_blocks * 512 for path in stack.folder.path.rglob("*") if path.is_file()]
    assert sum(sizes) < 100 * 2**20


def test_a_second_stack_in_the_same_folder_is_refused(stack):
    second = Stack(stack.folder.path)
    with pytest.raises(FolderBusyError, match=f"in use by process {os.getpid()}"):
        second.start()
    assert answers(stack)


def answers(stack: Stack) -> bool:
    """Whether all three still answer."""
    with sql(stack) as connection, broker(stack) as client:
        connection.execute("SELECT 1")
        return bool(client.ping()) and "Buckets" in store(stack).list_buckets()


def test_two_stacks_in_different_folders_do_not_meet(stack, tmp_path):
    with Stack(tmp_path / "other") as other:
        write_everywhere(other, "mine")
        assert read_everywhere(other, "mine") == (True, "mine", b"mine")
        with broker(stack) as client:
            assert client.get("mine") is None
    assert answers(stack)


def test_data_and_addresses_outlive_an_orderly_stop(tmp_path):
    first = Stack(tmp_path / "farm")
    with first:
        write_everywhere(first, "kept")
        pids = [service.pid for service in first.services.values()]
    assert not any(psutil.pid_exists(pid) for pid in pids if pid)
    # Several times: a store that answers before it knows what it holds did so in one start of five.
    for _ in range(4):
        with Stack(tmp_path / "farm") as again:
            assert again.environment() == first.environment()
            assert read_everywhere(again, "kept") == (True, "kept", b"kept")


def test_a_pid_file_that_names_a_stranger_does_not_keep_postgres_down(tmp_path):
    """What a crash leaves, when the pid has gone to another process of the same user since."""
    with Stack(tmp_path / "farm"):
        pass
    data = tmp_path / "farm" / "postgres" / "data"
    owner = data.stat()
    stranger = subprocess.Popen(["sleep", "1000"], user=owner.st_uid if os.geteuid() == 0 else None)
    try:
        lines = (stranger.pid, "/proc/self/cwd", int(time.time()), 5432, "", "127.0.0.1", "1 1", "ready")
        (data / "postmaster.pid").write_text("".join(f"{line}\n" for line in lines))
        os.chown(data / "postmaster.pid", owner.st_uid, owner.st_gid)
        with Stack(tmp_path / "farm") as stack:
            assert answers(stack)
    finally:
        stranger.kill()
        stranger.wait()


def test_an_initdb_that_was_killed_half_way_does_no_harm(tmp_path):
    half = tmp_path / "farm" / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with Stack(tmp_path / "farm") as stack:
        assert answers(stack)
    assert not half.exists()


def test_a_start_that_is_interrupted_leaves_nothing_running(tmp_path, monkeypatch):
    monkeypatch.setattr("latentfarm.embedded.supervisor.Supervisor.wait_ready", interrupt)
    stack = Stack(tmp_path / "farm")
    with pytest.raises(KeyboardInterrupt):
        stack.start()
    assert all(service.pid is None for service in stack.services.values())
    again = Folder(tmp_path / "farm")
    again.open()
    again.close()


def interrupt(*_arguments, **_more) -> None:
    time.sleep(0.5)
    raise KeyboardInterrupt


def test_frozen_services_are_stopped_too(tmp_path):
    stack = Stack(tmp_path / "farm")
    stack.start()
    pids = [service.pid for service in stack.services.values()]
    for service in stack.services.values():
        service.send(signal.SIGSTOP)
    stack.stop()
    assert not any(psutil.pid_exists(pid) for pid in pids if pid)
    assert not Path("/proc", str(pids[0])).exists()
