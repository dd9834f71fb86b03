"""Ports that are drawn: free, and nobody else's until they are let go."""

import errno
import socket
from contextlib import closing
from pathlib import Path

import pytest

from latentfarm.embedded import ports
from latentfarm.embedded.errors import StackError
from latentfarm.embedded.farm import Farm
from latentfarm.embedded.ports import Ports
from latentfarm.embedded.stack import Stack

TREE = Path(__file__).parents[2]


@pytest.fixture
def own():
    with closing(Ports()) as own:
        yield own


@pytest.fixture
def others():
    with closing(Ports()) as others:
        yield others


def test_an_occupied_port_is_not_free():
    with socket.create_server((ports.HOST, 0)) as server:
        assert not ports.is_free(server.getsockname()[1])


def test_a_port_needs_its_grpc_port_too(own):
    port = own.draw(grpc=True)
    with socket.create_server((ports.HOST, port + ports.GRPC_OFFSET)):
        assert ports.fits(port, grpc=False)
        assert not ports.fits(port, grpc=True)


def test_a_port_that_is_drawn_is_nobody_elses_until_it_is_let_go(own, others):
    port = own.draw()
    assert ports.is_free(port)
    assert not others.take(port)
    own.close()
    assert others.take(port)


def test_a_system_without_such_names_does_without_marks(own, monkeypatch):
    def refuse(_socket, _address):
        raise PermissionError(errno.EPERM, "forbidden")

    marks = type("Marks", (socket.socket,), {"bind": refuse})
    monkeypatch.setattr(ports, "fits", lambda *_, **__: True)
    monkeypatch.setattr(socket, "socket", marks)
    port = own.draw()
    assert not own.take(port), "it is kept"
    own.close()
    assert own.take(port)


def test_when_all_are_taken_it_says_so(own, monkeypatch):
    monkeypatch.setattr(ports, "fits", lambda *_, **__: False)
    with pytest.raises(StackError, match=f"no free port between {ports.LOWEST} and {ports.HIGHEST}"):
        own.draw()


def test_a_farm_asks_for_its_port_and_has_another_where_somebody_has_it(own, tmp_path):
    stacks = [Stack(tmp_path / name) for name in "ab"]
    wanted = own.draw()
    own.close()
    try:
        first, second = (Farm(stack, TREE, port=wanted, workers=[], devices="cpu") for stack in stacks)
        assert first.port == wanted
        assert second.port != wanted
    finally:
        for stack in stacks:
            stack.ports.close()


def test_two_that_start_at_once_never_share_a_port(own, others, monkeypatch):
    monkeypatch.setattr(ports, "LOWEST", 20_000)
    wanted = {str(number): False for number in range(250)}
    first, second = (set(who.assign(wanted, {}).values()) for who in (own, others))
    assert not first & second


def test_a_port_that_turned_out_to_be_taken_is_not_kept(own, others):
    with socket.create_server((ports.HOST, 0)) as server:
        port = server.getsockname()[1]
        assert not own.take(port)
    assert others.take(port)


def test_ports_stay_where_they_are_free(own):
    before = own.assign({"a": True, "b": False}, {})
    own.close()
    assert own.assign({"a": True, "b": False}, before) == before


def test_a_port_that_is_taken_is_replaced_and_the_others_stay(own):
    before = own.assign({"a": False, "b": False}, {})
    own.close()
    with socket.create_server((ports.HOST, before["a"])):
        after = own.assign({"a": False, "b": False}, before)
    assert after["b"] == before["b"]
    assert after["a"] not in before.values()


def test_a_port_outside_the_range_is_replaced(own):
    # 60,000 + 10,000 is no port number; a file from elsewhere must not bring it in.
    assert ports.LOWEST <= own.assign({"a": True}, {"a": 60_000})["a"] <= ports.HIGHEST


def test_each_name_gets_a_port_of_its_own(own):
    wanted = {str(number): True for number in range(30)}
    found = own.assign(wanted, {}).values()
    assert len({*found, *(port + ports.GRPC_OFFSET for port in found)}) == 60
