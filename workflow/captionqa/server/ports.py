"""Ports: reserving one that no other process takes before our server listens, and the address that clients use."""

import ipaddress
import socket
from contextlib import suppress

import psutil

from captionqa.errors import ServerError

INTERNET = (socket.AF_INET, socket.AF_INET6)
EVERY_ADDRESS = ("0.0.0.0", "::")
LOOPBACK = "127.0.0.1"
#: An address of no machine (RFC 5737), for which the route to other networks is taken.
ELSEWHERE = "192.0.2.1"


class ReservedPort:
    """A port that is ours from the choice on: the preferred one where it is free, else any free one.

    The port stays bound, without listening, until `release`. A socket without SO_REUSEADDR can bind only a port that
    no other process has bound, not even another vLLM that loads its model and does not listen yet. SO_REUSEADDR is set
    afterwards, so that our own server can bind the port too; processes that do not set it still cannot.

    A process that sets it can take the port until our server listens. (SO_REUSEPORT would keep other users off, but
    vLLM does not set it.) That costs the server another port and the thief learns nothing: see `proved_connection`.
    """

    def __init__(self, host: str, preferred: int):
        """Reserve a port; `preferred` 0 means any.

        Raises:
            ServerError: no port can be bound on the host.
        """
        for port in (preferred, 0):
            self._socket = socket.socket(_family(host))
            try:
                self._socket.bind((host, port))
            except OSError:
                self._socket.close()
                continue
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.number: int = self._socket.getsockname()[1]
            return
        raise ServerError(f"no port can be bound on {host!r}; set server.host to an address of this machine.")

    def release(self) -> None:
        self._socket.close()


def listen_address(host: str) -> str:
    """The one numeric address of this machine that a server listens on and that clients use.

    `host` is a network interface, an address or a name. One that means all addresses (0.0.0.0, ::) stands for the
    address by which other machines know this one.

    Raises:
        ServerError: `host` is no address of this machine.
    """
    found = psutil.net_if_addrs().get(host, ())
    ranked = sorted((entry for entry in found if entry.family in INTERNET), key=lambda entry: entry.family)
    if ranked:
        return ranked[0].address.partition("%")[0]
    if host in EVERY_ADDRESS:
        return _known_address()
    if addresses := [address for address in _resolve(host) if _can_bind(address)]:
        return addresses[0]
    raise ServerError(f"{host!r} is no address of this machine; set server.host to one, or to a network interface.")


def url_host(address: str) -> str:
    """An address as it stands in a URL."""
    return f"[{address}]" if ":" in address else address


def _known_address() -> str:
    """The address that this machine's name resolves to, IPv4 before IPv6.

    On some machines that is a loopback address. Other machines then know it by the address that it sends from.
    """
    named = [address for address in _resolve(socket.gethostname()) if _can_bind(address)]
    for address in named:
        if not ipaddress.ip_address(address).is_loopback:
            return address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect((ELSEWHERE, 9))  # sends nothing
        return str(probe.getsockname()[0])
    return named[0] if named else LOOPBACK


def _resolve(host: str) -> list[str]:
    """The numeric addresses of a name or an address, IPv4 first; none where it does not resolve."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    internet = [(family, str(address[0]).partition("%")[0]) for family, *_, address in found if family in INTERNET]
    return [address for _, address in sorted(internet, key=lambda entry: entry[0])]


def _can_bind(address: str) -> bool:
    with socket.socket(_family(address)) as tried:
        try:
            tried.bind((address, 0))
        except OSError:
            return False
    return True


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
