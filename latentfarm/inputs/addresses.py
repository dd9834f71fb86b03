"""Which addresses a stranger's URL may lead to: public ones, also behind an embedded IPv4 address.

`ipaddress.is_global` is not asked: it takes 6to4 and NAT64 addresses of private hosts, and multicast.
Networks are those of the IANA special-purpose registries (RFC 6890 and its updates).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_CLOSED_4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared with carriers; clouds put metadata there
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host, public by its number only
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; metadata of Oracle's cloud
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
#: All that is routed between networks lies in here.
_GLOBAL_6 = IPv6Network("2000::/3")
_CLOSED_6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments; Teredo, which lies in it, is looked at first
        "2001:db8::/32",  # documentation
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_TEREDO = IPv6Network("2001::/32")
_6TO4 = IPv6Network("2002::/16")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
_LOW = 0xFFFF_FFFF


def is_public(text: str) -> bool:
    """Whether an address, as a resolver gives it, may be connected to."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return _is_open(address)
    if address.scope_id is not None:
        return False
    inside = embedded(address)
    if not all(_is_open(found) for found in inside):
        return False
    if inside and (address in _MAPPED or address in _NAT64 or address in _TEREDO):
        return True
    return address in _GLOBAL_6 and not any(address in network for network in _CLOSED_6)


def embedded(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that packets to an IPv6 address may end at, or pass through."""
    number = int(address)
    found = []
    if address in _MAPPED or address in _NAT64 or (number >> 32) & _LOW in _ISATAP:
        found.append(IPv4Address(number & _LOW))
    if address in _6TO4:
        found.append(IPv4Address(number >> 80 & _LOW))
    if address in _TEREDO:
        # The server as it is, the client with every bit turned.
        found += [IPv4Address(number >> 64 & _LOW), IPv4Address(~number & _LOW)]
    return found


def _is_open(address: IPv4Address) -> bool:
    return not any(address in network for network in _CLOSED_4)
