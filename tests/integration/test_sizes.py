"""Twenty images of the largest size: what is told of them stays small, and their bytes leave in a stream."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from latentfarm.dispatch import dispatch
from latentfarm.errors import ErrorClass
from latentfarm.messages import MOST
from latentfarm.records import Pick
from latentfarm.validation import PROMPTS
from tests.integration.serving import Puppet, serve
from tests.integration.test_api_process import address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.broker import Broker
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

MOST_MESSAGE = 2 * 1024
MOST_REPLY = 64 * 1024
IMAGES = 20
FILE_BYTES = 6 * 1024 * 1024
"""Of a PNG of 2048x2048 pixels with much in it."""
GROWTH_BYTES = 50 * 1024 * 1024
PROMPT = "p" * 8192
LARGEST: dict[str, Any] = {
    "model": "sdxl",
    "width": 2048,
    "height": 2048,
    "num_images": IMAGES,
    "num_inference_steps": 50,
    "prompt": PROMPT,
    "prompt_2": PROMPT,
    "negative_prompt": PROMPT,
    "negative_prompt_2": PROMPT,
    "refiner": {},
    "metadata": {f"{n:0>64}": "m" * 512 for n in range(16)},
}


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def submit(http: httpx.Client, **changed: Any) -> httpx.Response:
    answer = http.post("/v1/jobs", json=LARGEST | changed)
    assert answer.status_code == 202, answer.text
    return answer


def messages(broker: Broker) -> list[bytes]:
    """Every message in Redis, of all queues."""
    redis: Any = broker.redis  # its types know nothing of bytes
    lists = [key for key in redis.scan_iter() if redis.type(key) == b"list"]
    return [raw for key in lists for raw in redis.lrange(key, 0, -1)]


def replies(http: httpx.Client, job: str) -> dict[str, int]:
    """Sizes of all that is told of a job, on the largest pages that one may ask for."""
    document = http.get("/openapi.json").json()["paths"]
    routes = [path for path, item in document.items() if "{job_id}" in path and "get" in item]
    assert len(routes) >= 4
    asked = [
        "/v1/jobs?limit=100",
        f"/v1/jobs/{job}?images_limit=64",
        "/v1/models",
        "/v1/queues",
        "/v1/workers",
    ]
    for path in routes:
        if not path.endswith("/events"):
            asked += [
                path.format(job_id=job, index=index) for index in range(IMAGES if "{index}" in path else 1)
            ]
    found = {}
    for path in asked:
        answer = http.get(path)
        assert answer.status_code in (200, 307, 409, 410), (path, answer.text)
        found[path] = len(answer.content)
    return found


def pages(http: httpx.Client, job: str) -> list[int]:
    """Indices of all images of a job, page by page."""
    found: list[int] = []
    following: int | None = 0
    while following is not None:
        page = http.get(f"/v1/jobs/{job}", params={"images_from": following}).json()
        found += [image["index"] for image in page["images"]]
        following = page["images_next"]
    return found


def assert_small(found: dict[str, int]) -> None:
    assert {path: size for path, size in found.items() if size > MOST_REPLY} == {}


def test_what_is_told_of_a_job_stays_small_from_its_first_to_its_last_state(
    http: httpx.Client, repository: Repository, store: S3Store, broker: Broker
) -> None:
    jobs = [submit(http) for _ in range(3)]
    assert max(len(answer.content) for answer in jobs) <= MOST_REPLY
    for queue in repository.queues():
        dispatch(repository, broker, queue)
    sent = messages(broker)
    assert sent
    assert max(map(len, sent)) <= MOST_MESSAGE
    waiting, good, bad = (answer.json()["id"] for answer in jobs)
    assert_small(replies(http, waiting))
    puppet = Puppet(repository, store)
    claimed = puppet.claim()
    puppet.show([item for item in claimed if str(item.job_id) == good])
    puppet.fail([item for item in claimed if str(item.job_id) == bad], ErrorClass.USER, "x" * 2000)
    for job in (good, bad):
        assert http.get(f"/v1/jobs/{job}").json()["state"] in ("succeeded", "failed")
        assert_small(replies(http, job))
    assert_small(
        {
            path: len(http.post(path).content)
            for path in (f"/v1/jobs/{waiting}/{word}" for word in ("pause", "resume", "cancel"))
        }
    )


def test_a_list_of_a_hundred_such_jobs_stays_small_and_complete(http: httpx.Client) -> None:
    metadata = {f"{n:0>64}": "ä" * 512 for n in range(16)}
    short = dict.fromkeys(PROMPTS, "p" * 500)
    made = [submit(http, metadata=metadata, **short).json()["id"] for _ in range(30)]
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        answer = http.get("/v1/jobs", params={"limit": 100, **after})
        assert len(answer.content) <= MOST_REPLY
        page = answer.json()
        assert page["data"]
        seen += [job["id"] for job in page["data"]]
        if not page["has_more"]:
            break
        after = {"after": page["next_cursor"]}
    assert seen == made[::-1]


@pytest.mark.parametrize("letter", ["ü", "語", "🙂", "\x01", '"'])
def test_letters_of_many_bytes_do_not_make_an_answer_large(http: httpx.Client, letter: str) -> None:
    """Whoever sends more than a reply may hold is told so."""
    statuses = []
    for length in (1_000, 2_000, 6_000, 8_192):
        fields: dict[str, Any] = dict.fromkeys(PROMPTS, letter * length)
        fields["metadata"] = {f"{n:0>64}": letter * (length // 64) for n in range(16)}
        fields["sigmas"] = [14.0 - number / 3.000000001 / 16 for number in range(50)]
        fields["refiner"] = None
        answer = http.post("/v1/jobs", json=LARGEST | fields)
        assert answer.status_code in (202, 422)
        assert len(answer.content) <= MOST_REPLY
        statuses.append(answer.status_code)
        if answer.status_code == 202:
            assert_small(replies(http, answer.json()["id"]))
            assert len(http.post("/v1/jobs?dry_run=1", json=LARGEST | fields).content) <= MOST_REPLY
            assert pages(http, answer.json()["id"]) == list(range(IMAGES))
        else:
            assert "bytes of JSON" in answer.json()["errors"][0]["allowed"]
    assert statuses == sorted(statuses)
    assert set(statuses) == {202, 422}


def test_a_path_that_cannot_be_is_not_told_at_length(http: httpx.Client) -> None:
    answer = http.get("/v1/" + "x" * 60_000)
    assert answer.status_code == 404
    assert len(answer.content) <= 8 * 1024


def test_the_largest_message_that_is_ever_sent_is_small(broker: Broker) -> None:
    """After a trillion renders, each of which a million workers have held."""
    picks = [Pick(10**12 - n, 10**6, alone=False) for n in range(MOST)]
    broker.send("refine." + "m" * 32 + ".interactive", picks, chunk=MOST)
    (raw,) = messages(broker)
    assert len(raw) <= MOST_MESSAGE


def in_base64(http: httpx.Client, puppet: Puppet, file: bytes) -> int:
    """Images that OpenAI's route answers with; all of them are that file."""
    wanted = {"model": "tiny", "prompt": "a", "n": 10, "response_format": "b64_json"}
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(http.post, "/v1/images/generations", json=wanted)
        while not (claimed := puppet.claim()):
            time.sleep(0.05)
        puppet.finish(claimed, dict.fromkeys(range(10), file))
        data = asked.result().json()["data"]
    return sum(base64.b64decode(image["b64_json"]) == file for image in data)


def test_twenty_images_at_once_leave_in_a_stream(
    environment: dict[str, str], repository: Repository, store: S3Store
) -> None:
    """120 MiB through one process, raw and by twenty at once; it holds a fraction of that."""
    with subprocess.Popen(
        [sys.executable, "-m", "api"],
        env={**os.environ, **environment, "LATENTFARM_API_PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            with httpx.Client(base_url=address(process), timeout=60) as http:
                job = submit(http, refiner=None).json()["id"]
                puppet = Puppet(repository, store)
                claimed = puppet.claim()
                files = {item.ordinal: os.urandom(FILE_BYTES) for item in claimed}
                puppet.finish(claimed, files)
                parent = psutil.Process(process.pid)
                assert http.get(f"/v1/jobs/{job}/images/0", params={"proxy": 1}).status_code == 200
                before = parent.memory_info().rss
                most = before

                def read(index: int) -> bool:
                    nonlocal most
                    digest = hashlib.sha256()
                    with http.stream("GET", f"/v1/jobs/{job}/images/{index}", params={"proxy": 1}) as answer:
                        for piece in answer.iter_bytes(65_536):
                            digest.update(piece)
                            most = max(most, parent.memory_info().rss)
                    return digest.digest() == hashlib.sha256(files[index]).digest()

                with ThreadPoolExecutor(IMAGES) as pool:
                    assert all(pool.map(read, range(IMAGES)))
                assert most - before <= GROWTH_BYTES
                assert in_base64(http, puppet, files[0]) == 10
                assert parent.memory_info().rss - before <= GROWTH_BYTES
        finally:
            process.kill()
