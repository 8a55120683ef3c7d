"""What is sent of a request over one connection: all of it, in order, however the kernel takes it."""

import socket
import threading

import pytest
from captionqa.client.chat_completion import CompletionClient
from captionqa.client.chat_request import ChatRequest
from captionqa.client.image_part import ImagePart
from captionqa.client.request_body import Body
from captionqa.client.request_errors import TransientError
from captionqa.server.endpoint import Endpoint, State

#: A server that reads this slowly leaves the kernel's buffers full, so that each call takes a part.
PIECE_BYTES = 50_000


def received(body: Body) -> bytes:
    """What a server that reads slowly, from small buffers, gets of a request after its head."""
    got = bytearray()
    whole = sum(map(len, body.with_model("tiny")))

    def read(listener):
        connection, _ = listener.accept()
        with connection:
            while b"\r\n\r\n" not in got or len(got) - got.index(b"\r\n\r\n") - 4 < whole:
                piece = connection.recv(PIECE_BYTES)
                if not piece:
                    return
                got.extend(piece)

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        reader = threading.Thread(target=read, args=[listener], daemon=True)
        reader.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = Endpoint(replica=0, request_id="1", settings="1", model="tiny", state=State.READY, url=url)
        with pytest.raises(TransientError):  # it never answers
            CompletionClient(1, 20.0, own=False).complete(server, None, body)
        reader.join(20)
    return bytes(got).partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(("images", "size"), [(1, 10), (3, 3_000_000), (1500, 700)])
def test_a_request_arrives_whole_and_in_order(images, size):
    pictures = [ImagePart(b"data:image/png;base64," + b"%04d" % number + b"A" * size) for number in range(images)]
    body = ChatRequest([*pictures, "What?"], max_tokens=9).body({})
    assert received(body) == b"".join(body.with_model("tiny"))
