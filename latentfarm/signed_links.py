"""Links to images that need no key: who holds one may read that image until its time is over, and nothing else.

The object store signs links of its own. Those break where a client sends its API key along, as Replicate's does with
every request: S3 refuses a request that is signed in two ways. These lead to the API.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass
from uuid import UUID

_PURPOSE = b"latentfarm image links 1"
_HEAD = struct.Struct(">QI16s")  # expiry in seconds since 1970, index, job
_MAC_BYTES = 32
_MOST_CHARS = 512


@dataclass(frozen=True, slots=True)
class Linked:
    """What a link leads to.

    Attributes:
        expires_at: seconds since 1970.
    """

    job_id: UUID
    index: int
    tenant: str
    expires_at: int


class LinkSigner:
    """Makes and reads the tokens of links.

    Args:
        secret: what every API process of the farm has, and nobody else: the secret key of its bucket. Whoever has
            that one reads every image anyway.
    """

    def __init__(self, secret: bytes) -> None:
        if not secret:
            raise ValueError("links cannot be signed with an empty secret")
        self._key = hmac.digest(secret, _PURPOSE, hashlib.sha256)

    def token(self, linked: Linked) -> str:
        """Of visible characters that stand in a path as they are."""
        head = _HEAD.pack(linked.expires_at, linked.index, linked.job_id.bytes)
        body = head + linked.tenant.encode()
        return base64.urlsafe_b64encode(self._mac(body) + body).decode().rstrip("=")

    def read(self, token: str, now: float) -> Linked | None:
        """What a token leads to; None: it is none of ours, or its time is over."""
        if len(token) > _MOST_CHARS:
            return None
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(body)):
            return None
        expires_at, index, job = _HEAD.unpack_from(body)
        linked = Linked(UUID(bytes=job), index, body[_HEAD.size :].decode(), expires_at)
        return linked if now < expires_at else None

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)
