"""Which addresses a stranger's URL may lead to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentfarm.inputs.addresses import embedded, is_public

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "11.0.0.0",
    "9.255.255.255",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::200e",
    "2001:4860:4860::8888",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
    "2001:0:808:808::f7f7:f7f7",  # Teredo, both 8.8.8.8
    "2606:4700::5efe:8.8.8.8",  # ISATAP
]
PRIVATE_4 = [
    "0.0.0.0",
    "0.0.0.1",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.100.100.200",  # metadata, Alibaba
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "168.63.129.16",  # Azure
    "169.254.0.0",
    "169.254.169.254",  # metadata
    "169.254.170.2",  # metadata of containers
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",  # metadata, Oracle
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
]
PRIVATE_6 = [
    "::",
    "::1",
    "::2",
    "::7f00:1",  # compatible
    "::169.254.169.254",
    "::8.8.8.8",  # compatible: nobody routes it
    "::ffff:0:8.8.8.8",  # translated
    "64:ff9b:1::8.8.8.8",  # NAT64 of one's own network
    "100::1",
    "100:0:0:1::1",
    "1::1",
    "2001::",  # Teredo with server 0.0.0.0
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:1ff:ffff::1",
    "2001:db8::1",
    "2620:4f:8000::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",  # metadata, AWS
    "fd20:ce::254",  # metadata, Google
    "fdff:ffff::1",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "ffff::1",
    "2606:4700:4700::1111%eth0",
]
NONSENSE = [
    "",
    "localhost",
    "1",
    "127.1",
    "0x7f000001",
    "2130706433",
    "017700000001",
    "1.1.1.1 ",
    "1.1.1.1/32",
    "[::1]",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_open(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", [*PRIVATE_4, *PRIVATE_6, *NONSENSE])
def test_others_are_closed(address: str) -> None:
    assert not is_public(address)


def wrappings(address: IPv4Address) -> list[IPv6Address]:
    """Every way to write an IPv4 address into a routable-looking IPv6 one."""
    number = int(address)
    public = 0x0808_0808
    prefix = int(IPv6Address("2606:4700::")) >> 64 << 64
    return [
        IPv6Address((0xFFFF << 32) | number),
        IPv6Address((0x0064_FF9B << 96) | number),
        IPv6Address((0x2002 << 112) | number << 80 | 1),
        IPv6Address((0x2001_0000 << 96) | number << 64 | (~public & 0xFFFF_FFFF)),
        IPv6Address((0x2001_0000 << 96) | public << 64 | (~number & 0xFFFF_FFFF)),
        IPv6Address(prefix | 0x0000_5EFE << 32 | number),
        IPv6Address(prefix | 0x0200_5EFE << 32 | number),
    ]


@pytest.mark.parametrize("address", PRIVATE_4)
def test_a_private_address_is_found_inside_of_others(address: str) -> None:
    inner = IPv4Address(address)
    for outer in wrappings(inner):
        assert inner in embedded(outer)
        assert not is_public(str(outer)), outer


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.4.4"])
def test_a_public_address_inside_of_others_stays_open(address: str) -> None:
    for outer in wrappings(IPv4Address(address)):
        assert is_public(str(outer)), outer


@given(st.ip_addresses(v=4))
def test_wrapping_changes_nothing(address: IPv4Address) -> None:
    assert {is_public(str(outer)) for outer in wrappings(address)} == {is_public(str(address))}


@given(st.ip_addresses())
def test_what_python_calls_local_is_never_open(address: IPv4Address | IPv6Address) -> None:
    local = address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
    if local or (address.is_private and not (isinstance(address, IPv6Address) and embedded(address))):
        assert not is_public(str(address))


@given(st.text(max_size=60))
def test_any_text_gets_an_answer(text: str) -> None:
    assert is_public(text) in (True, False)
