"""What users say never becomes part of an object's name or of a header: 200 strings that would like to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
from sqlalchemy import text

from tests.integration.pictures import RED
from tests.integration.serving import Puppet, serve

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

_WORDS = (
    "../../etc/passwd",
    "..\\..\\boot.ini",
    "v1/images/1/1.png",
    "a b",
    "name",
    "é\u202etxt.exe",
    "\U0001f480",
    "%2e%2e%2f",
)
_ENDS = (
    "\r\nSet-Cookie: a=b",
    "\nX-Injected: 1",
    "\r\n\r\n<script>",
    '"; filename="evil.sh',
    "'; DROP TABLE jobs; --",
    "\t\x0b\x0c",
    "?versionId=1&X-Amz-Signature=0",
    "#/../..",
    "/",
    "\u2028\u2029\u0085",
    "{id}${jndi:ldap://x}",
    "%0d%0aLocation:%20https://evil.example",
    ".",
    "\x7f\x1b[2J",
    "//evil.example/",
    ";rm -rf *",
    "\\",
    "`id`",
    "$(id)",
    "<svg onload=1>",
    "x" * 300,
    "\ufeff\u200b",
    "|cat",
    "~",
    "=cmd()",
)
HOSTILE = [word + end for word in _WORDS for end in _ENDS]
"""200 strings."""
IMAGE = re.compile(r"v1/images/[1-9]\d*/[1-9]\d*\.png")
DISPOSITION = re.compile(r'inline; filename="[0-9a-f-]{36}-\d{4}\.png"')
HEADERS = {
    *("date", "server", "content-type", "content-length", "content-disposition", "etag", "cache-control"),
    *("x-content-type-options", "x-request-id"),
}


def fours() -> list[list[str]]:
    return [HOSTILE[first : first + 4] for first in range(0, len(HOSTILE), 4)]


def job(http: httpx.Client, strings: list[str]) -> str:
    """A job that has each of them for a prompt, and for a string of the user's."""
    prompts = dict(zip(("prompt", "prompt_2", "negative_prompt", "negative_prompt_2"), strings, strict=True))
    metadata = {f"{number}{one}"[:64]: one for number, one in enumerate(strings)}
    made = http.post("/v1/jobs", json={**prompts, "width": 64, "height": 64, "metadata": metadata})
    assert made.status_code == 202, made.text
    return str(made.json()["id"])


def test_images_are_named_by_ids_alone(settings: Settings, repository: Repository, store: S3Store) -> None:
    assert len(set(HOSTILE)) == 200
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as http:
        jobs = [job(http, strings) for strings in fours()]
        puppet = Puppet(repository, store)
        puppet.finish(puppet.claim())
        keys: list[Any] = repository.transact(
            lambda c: list(c.execute(text("SELECT key FROM objects")).scalars())
        )
        assert [key for key in keys if not IMAGE.fullmatch(key)] == []
        assert len(keys) == len(jobs)
        for made in jobs:
            sent = http.get(f"/v1/jobs/{made}/images/0", params={"proxy": 1})
            assert set(sent.headers) == HEADERS
            assert DISPOSITION.fullmatch(sent.headers["content-disposition"])
            location = http.get(f"/v1/jobs/{made}/images/0").headers["location"]
            assert IMAGE.fullmatch(httpx.URL(location).path.removeprefix(f"/{settings.s3_bucket}/"))
            (output,) = http.get(f"/replicate/v1/predictions/{made}").json()["output"]
            assert re.fullmatch(rf"{url}/replicate/v1/outputs/[\w-]+/out-0\.png", output)


def test_files_are_named_by_their_content_alone(
    settings: Settings, repository: Repository, store: S3Store
) -> None:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as http:
        for name in HOSTILE[:25:3]:
            made = http.post("/replicate/v1/files", files={"content": (name, RED, "image/png")})
            assert made.status_code == 201, made.text
            assert made.json()["name"] == f"{made.json()['id']}.png"
        kept = repository.transact(lambda c: list(c.execute(text("SELECT key FROM inputs")).scalars()))
    # One content, and no key but the one that follows from it.
    assert kept == [None]
