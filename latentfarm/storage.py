"""The object store: put, get, delete, link. SHA-256 goes with every put and is checked at every get."""

from __future__ import annotations

import base64
import functools
import hashlib
import threading
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from latentfarm.errors import InvalidInput, LatentsError, TransientError
from latentfarm.records import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from boto3.session import Session
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

    from latentfarm.settings import Settings

TIMEOUT_S = 10
_making = threading.Lock()


class ObjectStore(Protocol):
    """What the farm needs of a bucket."""

    def put(self, key: str, data: bytes, content_type: str) -> ObjectRef:
        """Stores an object; the same key and bytes may be put again."""

    def get(self, ref: ObjectRef) -> bytes:
        """Reads an object and checks its size and digest.

        Raises:
            LatentsError: it is not there, or is not what was put.
            TransientError: the store did not answer.
        """

    def delete(self, keys: Sequence[str]) -> None:
        """Removes objects; those that are not there are no error."""


class Archive(ObjectStore, Protocol):
    """A bucket that also takes files which must never be overwritten."""

    def put_new(self, ref: ObjectRef, file: BinaryIO, content_type: str) -> bool:
        """Stores a file of any size under a key that nothing lies under yet.

        Args:
            ref: the key, and what the file holds.
            file: can be sought in; it may be read twice.

        Returns:
            Whether these bytes lie there, put now or by an earlier try. If not, others do, and stay.

        Raises:
            TransientError: the store did not answer, or not with a decision.
        """


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing shows it. `age_s` is by the store's own clock."""

    key: str
    size: int
    age_s: float


class S3Store:
    """An S3-compatible bucket through boto3.

    Args:
        endpoint_url: where the services reach it.
        public_url: where users reach it; SigV4 signs the host, so links need it.
    """

    def __init__(
        self,
        *,
        endpoint_url: str,
        bucket: str,
        region: str,
        access_key_id: str,
        secret_access_key: str,
        public_url: str | None = None,
        connections: int = 16,
    ) -> None:
        self.bucket = bucket
        # Sessions are not thread-safe where they make clients; clients are.
        with _making:
            session = _session(access_key_id, secret_access_key)
            self.client = _client(session, endpoint_url, region, connections)
        self._public = (session, public_url or endpoint_url, region)

    @classmethod
    def from_settings(cls, settings: Settings) -> S3Store:
        """The store that the settings name."""
        return cls(
            endpoint_url=settings.s3_endpoint_url,
            bucket=settings.s3_bucket,
            region=settings.s3_region,
            access_key_id=settings.s3_access_key_id,
            secret_access_key=settings.s3_secret_access_key.get_secret_value(),
            public_url=settings.s3_public_url,
        )

    @functools.cached_property
    def _signer(self) -> S3Client:
        """Made by the first link: most processes hand none out, and a client takes a tenth of a second."""
        session, url, region = self._public
        with _making:
            return _client(session, url, region, 1)

    def put(self, key: str, data: bytes, content_type: str) -> ObjectRef:
        """See `ObjectStore.put`. The store itself refuses bytes that do not match the digest."""
        digest = hashlib.sha256(data).digest()
        with _transient(f"put {key}"):
            self.client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=data,
                ContentType=content_type,
                ChecksumSHA256=base64.b64encode(digest).decode(),
            )
        return ObjectRef(key, digest, len(data))

    def put_new(self, ref: ObjectRef, file: BinaryIO, content_type: str) -> bool:
        """See `Archive.put_new`. One request, so that nothing half-written is ever to be seen."""
        with _transient(f"put {ref.key}"):
            file.seek(0)
            try:
                self.client.put_object(
                    Bucket=self.bucket,
                    Key=ref.key,
                    Body=file,
                    ContentLength=ref.size,
                    ContentType=content_type,
                    ChecksumSHA256=base64.b64encode(ref.sha256).decode(),
                    IfNoneMatch="*",
                )
            except self.client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] not in {"PreconditionFailed", "412"}:
                    raise
                return self._is(ref)
        return True

    def _is(self, ref: ObjectRef) -> bool:
        """Whether what lies there has that size and digest; it is read as a stream."""
        found = self.client.get_object(Bucket=self.bucket, Key=ref.key)
        if found["ContentLength"] != ref.size:
            found["Body"].close()
            return False
        digest = hashlib.sha256()
        for chunk in found["Body"].iter_chunks(1 << 20):
            digest.update(chunk)
        return digest.digest() == ref.sha256

    def get(self, ref: ObjectRef) -> bytes:
        """See `ObjectStore.get`."""
        with _transient(f"get {ref.key}"):
            try:
                data = self.client.get_object(Bucket=self.bucket, Key=ref.key)["Body"].read()
            except self.client.exceptions.NoSuchKey as error:
                raise LatentsError(f"{ref.key} is not in the bucket") from error
        if len(data) != ref.size or hashlib.sha256(data).digest() != ref.sha256:
            raise LatentsError(
                f"{ref.key} is not what was stored: {len(data)} of {ref.size} bytes or another digest"
            )
        return data

    def read(self, key: str, *, most: int) -> bytes | None:
        """An object whose digest nobody knows yet; None when it is not there.

        Raises:
            InvalidInput: it has more than `most` bytes; they are not read.
        """
        with _transient(f"get {key}"):
            try:
                found = self.client.get_object(Bucket=self.bucket, Key=key)
            except self.client.exceptions.NoSuchKey:
                return None
            if found["ContentLength"] > most:
                found["Body"].close()
                raise InvalidInput("file", "too large", f"at most {most} bytes")
            return found["Body"].read()

    def size(self, key: str) -> int | None:
        """Bytes of an object; None when it is not there."""
        with _transient(f"head {key}"):
            try:
                return self.client.head_object(Bucket=self.bucket, Key=key)["ContentLength"]
            except self.client.exceptions.ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.NOT_FOUND:
                    return None
                raise

    def stream(self, key: str, chunk: int = 65_536, span: tuple[int, int] | None = None) -> Iterator[bytes]:
        """The bytes of an object, or those from `span[0]` to before `span[1]`, for passing through."""
        part: Any = {} if span is None else {"Range": f"bytes={span[0]}-{span[1] - 1}"}
        with _transient(f"get {key}"):
            body = self.client.get_object(Bucket=self.bucket, Key=key, **part)["Body"]
            yield from body.iter_chunks(chunk)

    def delete(self, keys: Sequence[str]) -> None:
        """See `ObjectStore.delete`."""
        for start in range(0, len(keys), 1000):
            batch: list[ObjectIdentifierTypeDef] = [{"Key": key} for key in keys[start : start + 1000]]
            with _transient("delete objects"):
                self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": batch, "Quiet": True})

    def list_keys(self, prefix: str) -> Iterator[str]:
        """All keys under a prefix."""
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            yield from (entry["Key"] for entry in page.get("Contents", []))

    def pages(self, prefix: str, *, after: str = "") -> Iterator[list[Listed]]:
        """All objects under a prefix whose keys come behind `after`, in order, up to 1,000 at a time."""
        paginator = self.client.get_paginator("list_objects_v2")
        pages = paginator.paginate(Bucket=self.bucket, Prefix=prefix, StartAfter=after)
        with _transient(f"list {prefix}"):
            for page in pages:
                now = parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
                yield [
                    Listed(entry["Key"], entry["Size"], (now - entry["LastModified"]).total_seconds())
                    for entry in page.get("Contents", [])
                ]

    def link(self, key: str, *, seconds: int) -> str:
        """A signed link for reading one object. Signing asks nobody."""
        return self._signer.generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=seconds
        )

    def upload_link(self, key: str, *, size: int, seconds: int) -> str:
        """A signed link for one PUT of exactly `size` bytes: the length is signed, and the store checks it."""
        parameters = {"Bucket": self.bucket, "Key": key, "ContentLength": size}
        return self._signer.generate_presigned_url("put_object", Params=parameters, ExpiresIn=seconds)


class _transient:  # noqa: N801 - reads as a verb where it is used
    """Turns what boto3 raises for network and server trouble into TransientError."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # First: where no more files can be opened, nothing can be imported either.
        if isinstance(error, OSError):
            raise TransientError(f"object store: {self.what}: {error}") from error
        if error is None:
            return
        import botocore.exceptions
        import urllib3.exceptions

        network = (
            botocore.exceptions.BotoCoreError,
            botocore.exceptions.ClientError,
            urllib3.exceptions.HTTPError,
        )
        if isinstance(error, network):
            raise TransientError(f"object store: {self.what}: {error}") from error


@functools.lru_cache(maxsize=4)
def _session(access_key_id: str, secret_access_key: str) -> Session:
    """One for all stores of a process: each would read its rules about endpoints anew, 0.2 s of a core."""
    import boto3

    return boto3.session.Session(aws_access_key_id=access_key_id, aws_secret_access_key=secret_access_key)


def _client(session: Session, endpoint: str, region: str, connections: int) -> S3Client:
    from botocore.config import Config

    # boto3 would sign links with the old SigV2 unless told, and S3-compatible servers refuse that.
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        connect_timeout=5,
        read_timeout=TIMEOUT_S,
        retries={"max_attempts": 4, "mode": "standard"},
        max_pool_connections=connections,
    )
    return session.client("s3", endpoint_url=endpoint, region_name=region, config=config)
