"""How one request to a server can fail.

    RequestError
      UnreachableError            no connection was made, or its other end did not prove that it is our server
      AccessRefusedError          the server refuses the key, the model or the address
      TransientError              another attempt may succeed
        BrokenConnectionError     the connection broke while the server worked on the request

None of these blames the item. A request that the server rejects for what it holds raises `errors.ItemFailure`.
"""

from captionqa.errors import Reason


class RequestError(Exception):
    """One request got no answer."""


class UnreachableError(RequestError):
    """No connection to the server was made, so the request never reached it."""


class AccessRefusedError(RequestError):
    """The server refuses the key or the model, or has moved, whatever is asked."""

    def __init__(self, status: int, detail: str):
        super().__init__(f"HTTP {status}: {detail}")
        self.status = status


class TransientError(RequestError):
    """The attempt failed in a way that another attempt may not."""

    #: Whether the server may have crashed, which becomes known only when it is replaced.
    may_be_crash = False

    def __init__(self, reason: Reason, detail: str, retry_after_s: float = 0.0, is_overload: bool = False):
        """`retry_after_s` is what a Retry-After header asked for; `is_overload` says that the server was too busy.

        A timeout always counts as an overload.
        """
        super().__init__(detail)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.is_overload = is_overload or reason is Reason.TIMEOUT


class BrokenConnectionError(TransientError):
    """The connection broke while the server worked on the request, which may have crashed it."""

    may_be_crash = True


class InternalServerError(TransientError):
    """The server answered with status 500.

    vLLM does so when its engine dies: each request in flight is answered at once, and the server itself ends later.
    """

    may_be_crash = True
