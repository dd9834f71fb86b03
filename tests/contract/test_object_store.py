"""What every `ObjectStore` must do. S3 is the only one; a second would be added to the fixture."""

from __future__ import annotations

import hashlib
import io
import resource
import uuid
from typing import TYPE_CHECKING

import httpx
import pytest

from latentfarm.errors import LatentsError, TransientError
from latentfarm.records import ObjectRef
from latentfarm.storage import S3Store
from tests.acceptance.farm import until

if TYPE_CHECKING:
    from latentfarm.settings import Settings
    from latentfarm.storage import Archive, ObjectStore


@pytest.fixture
def bucket(store: S3Store) -> ObjectStore:
    """The static type says that the adapter fits."""
    return store


@pytest.fixture
def key() -> str:
    return f"v1/contract/{uuid.uuid4().hex}"


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_what_was_put_is_read(bucket: ObjectStore, key: str, size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    ref = bucket.put(key, data, "application/octet-stream")
    assert ref == ObjectRef(key, hashlib.sha256(data).digest(), size)
    assert bucket.get(ref) == data


def test_the_same_bytes_may_be_put_again(bucket: ObjectStore, key: str) -> None:
    assert bucket.put(key, b"same", "image/png") == bucket.put(key, b"same", "image/png")


@pytest.mark.parametrize("change", ["digest", "size", "missing"])
def test_what_is_not_what_was_put_is_refused(bucket: ObjectStore, key: str, change: str) -> None:
    ref = bucket.put(key, b"latents", "application/octet-stream")
    wanted = {
        "digest": ObjectRef(key, b"\0" * 32, ref.size),
        "size": ObjectRef(key, ref.sha256, ref.size + 1),
        "missing": ObjectRef(f"{key}x", ref.sha256, ref.size),
    }
    with pytest.raises(LatentsError):
        bucket.get(wanted[change])


def test_deleting_what_is_not_there_is_no_error(bucket: ObjectStore, key: str) -> None:
    ref = bucket.put(key, b"x", "image/png")
    for _ in range(2):
        bucket.delete([key, f"{key}x"])
    with pytest.raises(LatentsError):
        bucket.get(ref)


def test_deleting_takes_any_number_of_keys(bucket: ObjectStore, key: str) -> None:
    """S3 takes 1,000 in one request."""
    ref = bucket.put(key, b"x", "image/png")
    bucket.delete([])
    bucket.delete([*(f"{key}/{number}" for number in range(1000)), key])
    with pytest.raises(LatentsError):
        bucket.get(ref)


def test_a_store_that_does_not_answer_is_trouble_that_passes(settings: Settings, key: str) -> None:
    gone = S3Store.from_settings(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:1"}))
    for act in (
        lambda: gone.put(key, b"x", "image/png"),
        lambda: gone.get(ObjectRef(key, b"", 1)),
        lambda: gone.delete([key]),
    ):
        with pytest.raises(TransientError, match="object store"):
            act()


def test_wrong_keys_are_told_and_not_taken_for_missing_objects(settings: Settings, key: str) -> None:
    stranger = S3Store.from_settings(settings.model_copy(update={"s3_access_key_id": "stranger"}))
    with pytest.raises(TransientError):
        stranger.get(ObjectRef(key, b"", 1))


def test_a_process_that_may_open_no_more_files_is_trouble_that_passes(
    bucket: ObjectStore, settings: Settings, key: str
) -> None:
    """Nobody is charged for it, and once there are files again all goes on."""
    bucket.put(key, b"x", "image/png")  # so that all that is needed is imported
    fresh = S3Store.from_settings(settings)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(TransientError):
            fresh.put(f"{key}/more", b"x", "image/png")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert fresh.get(fresh.put(f"{key}/more", b"x", "image/png")) == b"x"


def test_a_new_file_is_put_once_and_never_overwritten(store: S3Store, key: str) -> None:
    archive: Archive = store
    data = b"0123456789" * 300_000
    ref = ObjectRef(key, hashlib.sha256(data).digest(), len(data))
    for _ in range(2):  # the second time it is there already
        assert archive.put_new(ref, io.BytesIO(data), "application/x-tar")
    same_size, other_size = data[:-1] + b"x", b"short"
    for other in (same_size, other_size):
        taken = ObjectRef(key, hashlib.sha256(other).digest(), len(other))
        assert not archive.put_new(taken, io.BytesIO(other), "application/x-tar")
    assert archive.get(ref) == data


def test_a_new_file_that_is_not_what_was_said_is_not_stored(store: S3Store, key: str) -> None:
    with pytest.raises(TransientError):
        store.put_new(ObjectRef(key, hashlib.sha256(b"a").digest(), 1), io.BytesIO(b"b"), "application/x-tar")
    assert store.size(key) is None


def test_a_large_object_is_one_put_and_leaves_no_open_upload(store: S3Store, key: str) -> None:
    """So there is nothing that a kill could leave half done, and no rule that must clean it up."""
    store.put(key, b"x" * 20_000_000, "image/png")
    assert "-" not in store.client.head_object(Bucket=store.bucket, Key=key)["ETag"]
    assert store.client.list_multipart_uploads(Bucket=store.bucket).get("Uploads", []) == []


# Links and streams are what the API needs besides.


def test_a_link_reads_its_object_and_nothing_else(store: S3Store, key: str) -> None:
    store.put(key, b"picture", "image/png")
    link = store.link(key, seconds=60)
    answer = httpx.get(link)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (
        200,
        b"picture",
        "image/png",
    )
    assert httpx.get(link.replace(key, f"{key}x")).status_code == 403
    assert httpx.put(link, content=b"other").status_code == 403


def test_a_link_ends_when_its_time_is_over(store: S3Store, key: str) -> None:
    store.put(key, b"picture", "image/png")
    link = store.link(key, seconds=5)
    assert httpx.get(link).status_code == 200
    until("the link has ended", lambda: httpx.get(link).status_code == 403, every_s=0.2)


def test_links_name_the_address_that_users_see(settings: Settings, key: str) -> None:
    public = settings.model_copy(update={"s3_public_url": "https://pictures.example"})
    assert S3Store.from_settings(public).link(key, seconds=60).startswith("https://pictures.example/")


def test_a_stream_is_the_object_in_pieces(store: S3Store, key: str) -> None:
    data = b"0123456789" * 100_000
    store.put(key, data, "image/png")
    pieces = list(store.stream(key))
    assert (b"".join(pieces), len(pieces) > 1) == (data, True)
