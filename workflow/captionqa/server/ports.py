"""Ports: reserving one that no other process takes before our server listens, and the address that clients use."""

import socket

import psutil

from captionqa.errors import ServerError

INTERNET = (socket.AF_INET, socket.AF_INET6)


class ReservedPort:
    """A port that is ours from the choice on: the preferred one where it is free, else any free one.

    The port stays bound, without listening, until `release`. A socket without SO_REUSEADDR can bind only a port that
    no other process has bound, not even another vLLM that loads its model and does not listen yet. SO_REUSEADDR is set
    afterwards, so that our own server can bind the port too; processes that do not set it still cannot.
    """

    def __init__(self, host: str, preferred: int):
        """Reserve a port; `preferred` 0 means any.

        Raises:
            ServerError: no port can be bound on the host.
        """
        for port in (preferred, 0):
            self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
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
    """The address to listen on: that of this machine's network interface named `host`, else `host` itself."""
    found = psutil.net_if_addrs().get(host, ())
    ranked = sorted((entry for entry in found if entry.family in INTERNET), key=lambda entry: entry.family)
    return ranked[0].address.partition("%")[0] if ranked else host


def url_host(host: str) -> str:
    """The host in the URL by which other machines reach a server that listens on `host`."""
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
