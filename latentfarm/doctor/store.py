"""What the farm needs of the object store, tried out: each probe removes what it has put."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from typing import TYPE_CHECKING

import botocore.exceptions
import httpx

from latentfarm.doctor.finding import Finding, look
from latentfarm.keys import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentfarm.storage import S3Store

LINK_S = 1
"""Seconds that a link is good for that is tried again after its end."""
LATE_S = 10.0
_ADVICE = "use an S3 server that has it, such as SeaweedFS, MinIO, Ceph or AWS"


def check_store(store: S3Store) -> list[Finding]:
    """Put-if-absent, refusal of a wrong digest, and signed links that users can read, until they end.

    Not tried, since nothing here needs it: multipart uploads. Every object is put in one request.
    """
    return [
        look("put if absent", lambda: _probe(store, _put_if_absent), _ADVICE),
        look("digest refusal", lambda: _probe(store, _digest_refusal), _ADVICE),
        look(
            "signed links",
            lambda: _probe(store, _link),
            "set LATENTFARM_S3_PUBLIC_URL to the address at which users reach the object store",
        ),
        look(
            "end of links",
            lambda: _probe(store, _link_ends),
            "use an S3 server that heeds X-Amz-Expires, and let both machines take their time from NTP",
        ),
    ]


def _probe(store: S3Store, attempt: Callable[[S3Store, str], str]) -> str:
    key = f"{PREFIX}doctor/{secrets.token_hex(8)}"
    try:
        return attempt(store, key)
    finally:
        store.delete([key])


def _put_if_absent(store: S3Store, key: str) -> str:
    store.client.put_object(Bucket=store.bucket, Key=key, Body=b"first", IfNoneMatch="*")
    try:
        store.client.put_object(Bucket=store.bucket, Key=key, Body=b"second", IfNoneMatch="*")
    except botocore.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        return f"the second put was refused ({code})"
    raise RuntimeError("a second put of the same key was taken, though If-None-Match forbade it")


def _digest_refusal(store: S3Store, key: str) -> str:
    wrong = base64.b64encode(hashlib.sha256(b"other bytes").digest()).decode()
    try:
        store.client.put_object(Bucket=store.bucket, Key=key, Body=b"bytes", ChecksumSHA256=wrong)
    except botocore.exceptions.ClientError as error:
        return f"bytes with another SHA-256 were refused ({error.response['Error']['Code']})"
    raise RuntimeError("bytes with another SHA-256 than the header says were taken")


def _link(store: S3Store, key: str) -> str:
    store.put(key, b"linked", "text/plain")
    link = store.link(key, seconds=60)
    answer = httpx.get(link, timeout=10)
    if answer.status_code != 200 or answer.content != b"linked":
        raise RuntimeError(f"a signed link gave HTTP {answer.status_code} at {httpx.URL(link).host}")
    forged = httpx.get(link[:-1] + ("0" if link[-1] != "0" else "1"), timeout=10)
    if forged.status_code == 200:
        raise RuntimeError("a link with a wrong signature was taken")
    return f"links at {httpx.URL(link).netloc.decode()} work, forged ones do not"


def _link_ends(store: S3Store, key: str) -> str:
    store.put(key, b"linked", "text/plain")
    if (status := httpx.get(store.link(key, seconds=60), timeout=10).status_code) != 200:
        raise RuntimeError(f"no link works at all: HTTP {status}")
    link = store.link(key, seconds=LINK_S)
    began = time.monotonic()
    while httpx.get(link, timeout=10).status_code == 200:
        if time.monotonic() - began > LATE_S:
            raise RuntimeError(f"a link for {LINK_S} s was still taken after {LATE_S:g} s")
        time.sleep(0.2)
    return "a link that is over is refused"
