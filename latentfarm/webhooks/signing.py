"""Standard Webhooks: what a secret looks like, and the headers that prove who sent a payload."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING

from standardwebhooks import Webhook

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

MARK = "whsec_"
"""What every secret begins with, so that scanners of source code find one that got lost."""
_SECRET_BYTES = 32


def new_secret() -> str:
    """A secret with 256 random bits."""
    return MARK + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def message_id(delivery: UUID) -> str:
    """The `webhook-id` of a delivery: receivers know by it what they have had before."""
    return f"msg_{delivery.hex}"


def headers(delivery: UUID, body: str, signers: Sequence[str], at: datetime) -> dict[str, str]:
    """The three headers of the standard.

    Args:
        signers: secrets, each of which signs: during a rotation the old one too.
        at: of this try, in UTC; receivers refuse what is more than 5 minutes off.
    """
    name = message_id(delivery)
    signatures = [Webhook(secret).sign(name, at, body) for secret in signers]
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
