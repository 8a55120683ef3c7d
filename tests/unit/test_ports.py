"""Ports: a reserved port stays ours, whoever else looks for one, and our own server can still listen there."""

import socket

import psutil
import pytest
from captionqa.errors import ServerError
from captionqa.server.ports import ReservedPort, listen_address, url_host

LOCAL = "127.0.0.1"


@pytest.fixture
def wanted(free_port):
    return free_port


def bind_as_vllm_does(port, host=LOCAL):
    """Bind with SO_REUSEADDR without listening: vLLM loads its model between the two."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    return bound


def test_the_wanted_port_is_held_if_it_can_be_had(wanted):
    held = ReservedPort(LOCAL, wanted)
    assert held.number == wanted
    held.release()
    with socket.socket() as taken:
        taken.bind((LOCAL, wanted))
        taken.listen()
        assert ReservedPort(LOCAL, wanted).number not in (0, wanted)


def test_a_port_that_another_vllm_has_bound_and_does_not_listen_on_yet_is_taken(wanted):
    with bind_as_vllm_does(wanted):
        assert ReservedPort(LOCAL, wanted).number != wanted


@pytest.mark.parametrize("host", [LOCAL, "0.0.0.0"])
def test_servers_that_choose_at_the_same_time_choose_different_ports(wanted, host):
    held = [ReservedPort(host, wanted) for _ in range(5)]
    assert len({port.number for port in held}) == 5
    assert held[0].number == wanted


def test_our_own_server_can_listen_on_the_held_port(wanted):
    held = ReservedPort(LOCAL, wanted)
    with bind_as_vllm_does(held.number) as server:
        server.listen()
        with socket.create_connection((LOCAL, wanted)) as connection:
            assert connection.getpeername() == (LOCAL, wanted)
        assert ReservedPort(LOCAL, wanted).number != wanted


def test_no_stranger_gets_the_held_port_by_chance(wanted):
    held = ReservedPort(LOCAL, wanted)
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind((LOCAL, held.number))


def test_an_address_that_is_not_this_machines_is_an_error():
    with pytest.raises(ServerError, match=r"no port can be bound on '192\.0\.2\.1'; set server\.host"):
        ReservedPort("192.0.2.1", 0)


@pytest.mark.parametrize(("address", "written"), [(LOCAL, LOCAL), ("::1", "[::1]")])
def test_an_address_is_written_as_urls_have_it(address, written):
    assert url_host(address) == written


@pytest.mark.parametrize(("host", "address"), [("lo", LOCAL), (LOCAL, LOCAL), ("127.0.0.2", "127.0.0.2")])
def test_an_interface_or_an_address_stands_for_one_numeric_address(host, address):
    assert listen_address(host) == address


def names(monkeypatch, *addresses):
    """Let this machine's name, and any other, resolve to these addresses."""
    found = [(socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 0)) for a in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_of_a_names_addresses_the_first_one_of_this_machine_is_taken_and_ipv4_before_ipv6(monkeypatch):
    names(monkeypatch, "::1", "192.0.2.1", "127.0.0.3")
    assert listen_address("node1") == "127.0.0.3"


@pytest.mark.parametrize("addresses", [[], ["192.0.2.1"]])
def test_a_name_of_another_machine_is_an_error(monkeypatch, addresses):
    names(monkeypatch, *addresses)
    with pytest.raises(ServerError, match=r"'node1' is no address of this machine; set server\.host"):
        listen_address("node1")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_all_addresses_stand_for_the_one_that_other_machines_use(host, monkeypatch):
    address = listen_address(host)
    assert ReservedPort(address, 0).number
    own = {entry.address for entries in psutil.net_if_addrs().values() for entry in entries}
    outside = [address for address in own if "." in address and not address.startswith("127.")]
    assert address in own
    names(monkeypatch, "127.0.1.1")
    assert listen_address(host) in (outside or ["127.0.1.1"])
    if outside:
        names(monkeypatch, "::1", outside[0])
        assert listen_address(host) == outside[0]
