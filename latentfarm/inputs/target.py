"""An https URL of a stranger, taken apart in one way only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import quote, urlsplit

from latentfarm.errors import InvalidInput

HTTPS = 443
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
_QUAD = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?!$)|$)){4}\Z")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes.

    Attributes:
        host: lower case; a name, or an address without brackets.
        path: with the query, ready for the request line.
    """

    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """For the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTPS else f"{host}:{self.port}"


def read_target(field: str, url: str) -> Target:
    """Takes a URL apart.

    Raises:
        InvalidInput: not https, user names, other ports, hosts that two readers could understand in two ways.
    """
    if not url.isprintable() or re.search(r"[\s\\\x7f]", url):
        raise InvalidInput(field, "the URL holds blanks, backslashes or control characters", "an https URL")
    try:
        parts = urlsplit(url)
        port = HTTPS if parts.port is None else parts.port
    except ValueError as error:
        raise InvalidInput(field, "the URL cannot be read", "an https URL") from error
    if parts.scheme.lower() != "https" or not parts.hostname:
        raise InvalidInput(field, "no https URL", "https://...")
    if "@" in parts.netloc:
        raise InvalidInput(field, "the URL holds a user name", "a URL without one")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return Target(_host(field, parts.hostname, parts.netloc), port, f"{path}?{query}" if query else path)


def is_address(host: str) -> bool:
    """Whether the host of a target is an address, and no name."""
    return ":" in host or _QUAD.match(host) is not None


def _host(field: str, host: str, netloc: str) -> str:
    name = host.lower().removesuffix(".")
    if "[" in netloc:
        return _ipv6(field, name)
    labels = name.split(".")
    if not name.isascii() or len(name) > 253 or not all(_LABEL.match(label) for label in labels):
        raise InvalidInput(field, "the host is no name", "a DNS name; other letters as xn--...")
    # 127.1, 0x7f000001, 2130706433 and 0177.0.0.1 are one address to some readers and none to others.
    if _NUMBER.match(labels[-1]) and not _QUAD.match(name):
        raise InvalidInput(field, "the host is a number", "a DNS name")
    return name


def _ipv6(field: str, text: str) -> str:
    try:
        address = IPv6Address(text)
    except ValueError as error:
        raise InvalidInput(field, "the host is no address", "a DNS name") from error
    if address.scope_id is not None:
        raise InvalidInput(field, "the host belongs to one link only", "a DNS name")
    return str(address)
