"""Ports: choosing one to listen on that no other server takes before ours does, and what clients call it."""

import socket

import psutil

from captionqa.errors import ServerError

INTERNET = (socket.AF_INET, socket.AF_INET6)


class HeldPort:
    """A port that is ours from the choice on: the wanted one if it can be had, else any free one.

    It stays bound, without listening, until it is released. Bound without SO_REUSEADDR it is had by one process alone,
    also where another vLLM has bound it and does not listen yet; then shared, which lets our own server bind it too,
    and keeps away all that do not ask to share.
    """

    def __init__(self, host: str, wanted: int):
        for port in (wanted, 0):
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
    """The address to listen on: that of this machine's network interface of this name, else `host` itself."""
    found = psutil.net_if_addrs().get(host, ())
    ranked = sorted((entry for entry in found if entry.family in INTERNET), key=lambda entry: entry.family)
    return ranked[0].address.partition("%")[0] if ranked else host


def url_host(host: str) -> str:
    """The name under which other machines reach a server that listens on `host`."""
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
