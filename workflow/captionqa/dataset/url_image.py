"""Images at http(s) addresses, fetched by the client: no private address, and limits of size, time and redirects.

A name is resolved once, and the connection goes to the address that was checked, so that a second answer of the name
server has no effect. Proxies of the environment are not used, since they resolve names themselves.
"""

import ipaddress
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urljoin, urlsplit

from captionqa.errors import ItemFailure, Reason

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection
    from urllib3.response import HTTPResponse

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Networks that no image comes from: this machine, private and link-local ones, multicast, and those that lead there
#: by another notation (IANA's registries of special-purpose addresses).
REFUSED_NETWORKS: tuple[Network, ...] = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
            "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64",
            "2001::/23", "2001:db8::/32", "2002::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
        ),
    )
)  # fmt: skip
MAX_BYTES = 64 << 20
#: For connecting and for each wait on the socket, and for all of one image, redirects included.
SOCKET_S, TOTAL_S = 15.0, 60.0
MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
#: What a server answers where there is no such image.
GONE = (404, 410)
BLOCK_BYTES = 1 << 16
HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "captionqa"}


@dataclass(frozen=True)
class UrlImages:
    """Fetches images; safe to share between threads."""

    refused: Sequence[Network] = REFUSED_NETWORKS
    max_bytes: int = MAX_BYTES
    total_s: float = TOTAL_S

    def fetch(self, url: str) -> bytes:
        """The image at an address.

        Raises:
            ItemFailure: missing_image where the server says that there is none, else unreadable_image.
        """
        deadline = time.monotonic() + self.total_s
        for _ in range(MAX_REDIRECTS + 1):
            found = self._get(url, deadline)
            if isinstance(found, bytes):
                return found
            url = found
        raise _unreadable(f"more than {MAX_REDIRECTS} redirects")

    def checked_address(self, host: str, port: int) -> str:
        """The address to connect to; raises ItemFailure where the name has none, or one in a refused network."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise _unreadable(f"the name {host!r} cannot be resolved") from error
        addresses = [str(entry[4][0]) for entry in found]
        for text in addresses:
            address = ipaddress.ip_address(text.partition("%")[0])
            plain: Address = getattr(address, "ipv4_mapped", None) or address
            if any(plain in network for network in self.refused):
                raise _unreadable(f"{host!r} is the private or reserved address {text}, which is not fetched")
        return addresses[0]

    def _get(self, url: str, deadline: float) -> bytes | str:
        """The image at an address, or the address that it redirects to."""
        from urllib3.exceptions import HTTPError

        parts = _parts(url)
        try:
            with closing(self._connection(parts)) as connection, _ended_at(connection, deadline):
                connection.request(
                    "GET", _target(parts), headers={**HEADERS, "Host": parts.netloc}, preload_content=False
                )
                response = connection.getresponse()
                location = response.headers.get("Location")
                if response.status in REDIRECTS and location:
                    return urljoin(url, location)
                if response.status != 200:
                    reason = Reason.MISSING_IMAGE if response.status in GONE else Reason.UNREADABLE_IMAGE
                    raise ItemFailure(reason, f"the server answers {response.status}")
                data = self._body(response)
        except (OSError, HTTPError, HTTPException, ValueError) as error:  # a wrong certificate is a ValueError
            raise self._named(error, deadline) from error
        if time.monotonic() >= deadline:
            raise self._named(TimeoutError(), deadline)
        if not data:
            raise _unreadable("the server answers with nothing")
        return data

    def _connection(self, parts: SplitResult) -> "HTTPConnection":
        """An open connection to the checked address."""
        from requests.utils import DEFAULT_CA_BUNDLE_PATH
        from urllib3.connection import HTTPConnection, HTTPSConnection

        host, is_safe = str(parts.hostname), parts.scheme == "https"
        port = parts.port or (443 if is_safe else 80)
        address = self.checked_address(host, port)
        connection = (
            HTTPSConnection(
                address,
                port,
                timeout=SOCKET_S,
                cert_reqs="CERT_REQUIRED",
                ca_certs=DEFAULT_CA_BUNDLE_PATH,
                server_hostname=host,
                assert_hostname=host,
            )
            if is_safe
            else HTTPConnection(address, port, timeout=SOCKET_S)
        )
        connection.connect()
        return connection

    def _body(self, response: "HTTPResponse") -> bytes:
        parts, size = [], 0
        while block := response.read1(BLOCK_BYTES, decode_content=False):
            parts.append(block)
            size += len(block)
            if size > self.max_bytes:
                raise _unreadable(f"it has more than {self.max_bytes:,} bytes")
        return b"".join(parts)

    def _named(self, error: Exception, deadline: float) -> ItemFailure:
        if time.monotonic() >= deadline:
            return _unreadable(f"it takes more than {self.total_s:g} s")
        return _unreadable(f"{type(error).__name__}: {error}"[:200])


def _parts(url: str) -> SplitResult:
    """The parts of an address as it is asked for; raises ItemFailure where it is none."""
    from requests import PreparedRequest, RequestException

    prepared = PreparedRequest()
    try:
        prepared.prepare_url(url, None)
        parts = urlsplit(str(prepared.url))
        named = parts.hostname is not None and parts.port != 0
    except (RequestException, ValueError) as error:
        raise _unreadable("it is no address") from error
    if parts.scheme not in ("http", "https") or not named:
        raise _unreadable(f"it leads to {str(prepared.url)[:80]!r}, which is no http(s) address")
    if "@" in parts.netloc:
        raise _unreadable("an address with a user or a password is not fetched")
    return parts


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


@contextmanager
def _ended_at(connection: "HTTPConnection", deadline: float) -> Iterator[None]:
    """Shut the connection down at the deadline, also between bytes that trickle."""
    # a response that ends with its connection takes the socket away from it
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), _shut_down, [connection.sock])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut_down(connected: socket.socket) -> None:
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def _unreadable(detail: str) -> ItemFailure:
    return ItemFailure(Reason.UNREADABLE_IMAGE, detail)
