"""A small OpenAI-compatible server for tests of everything around the model: no model, but a real process and sockets.

It takes vLLM's arguments and key, and answers with a digest of what it was sent, so that every request has one right
answer. Faults are injected through a JSON file named by STAND_IN_FAULTS, read at each request and while one waits:

    {"delay_s": 0.1}                                       wait before each answer
    {"hold": 3}                                            answer this server's first three requests; the others wait
                                                           as long as the file says so; with "only" those of a text
    {"loading": true}                                      a server that starts waits as long as the file says so
    {"fault": "half", "only": "text", "times": 2}          spoil the first two answers to each request of this text
    {"fault": "die", "once": true}                         spoil one answer, whichever comes first
    {"random": 0.1, "seed": 7}                             spoil a tenth of all answers in ways of all kinds

Faults: die, hang, close, half, trickle (blank lines for ever), drip (the right answer, slowly and after blank lines),
html, empty, null, no choices, length, or {"status", "headers", "body"}. Random ones
follow from the seed, the request and how often it was asked, this server's predecessors included.
Answers end in the letter A, or in one of STAND_IN_LETTERS by their digest.
A test gives answers of its own in the JSON file {text: answer} named by STAND_IN_ANSWERS.
Each request is appended to the file named by STAND_IN_REQUESTS as {"text", "images" (digests), "files" (those that were
referred to), "uuids" (those of images), "alone" (whether it had these and no image), "max_tokens", "seed", "time"}.
Images with a uuid are kept under it, the last IMAGE_CACHE of them, as vLLM does it: what is sent with a known uuid is
not looked at, and an unknown uuid alone is an error. Files in --allowed-local-media-path are read, and others refused.
"""

import argparse
import base64
import hashlib
import hmac
import itertools
import json
import os
import random
import sys
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

#: How many images are kept under their uuids.
IMAGE_CACHE = 1000
#: What goes wrong at random. A server that dies takes long to be replaced, so that it seldom does.
RANDOM_FAULTS = {
    **dict.fromkeys(("hang", "close", "half", "trickle", "drip", "html", "empty", "null", "no choices"), 1),
    **dict.fromkeys((400, 408, 413, 429, 500, 502, 503), 1),
    "die": 0.1,
}


def read_faults() -> dict:
    try:
        return json.loads(Path(os.environ["STAND_IN_FAULTS"]).read_text())
    except (KeyError, FileNotFoundError, json.JSONDecodeError):
        return {}


def read_answers() -> dict:
    path = os.environ.get("STAND_IN_ANSWERS")
    return json.loads(Path(path).read_text()) if path else {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lock = threading.Lock()

    def do_GET(self):
        if self.path == "/health":
            self.reply(200, {})
        elif self.path.startswith("/captionqa/proof?"):
            self.reply(200, self.proof(self.path.partition("?")[2]))
        elif not self.allowed():
            self.reply(401, {"error": "Unauthorized"})
        elif self.path == "/v1/models":
            self.reply(200, {"object": "list", "data": [{"id": self.server.model, "root": self.server.root}]})
        elif self.path == "/version":
            self.reply(200, {"version": "stand-in"})
        else:
            self.reply(404, {"error": "not found"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return self.reply(401, {"error": "Unauthorized"})
        parts = body["messages"][0]["content"]
        if isinstance(parts, str):
            return self.reply(200, completion("ready"))
        text = "".join(part.get("text", "<image>") for part in parts)
        pictures = [part for part in parts if part["type"] == "image_url"]
        urls = [part["image_url"].get("url") for part in pictures]
        files = [referred_file(url) for url in urls if url and url.startswith("file:")]
        try:
            found = [self.server.picture(index, part) for index, part in enumerate(pictures)]
            images, refused = [hashlib.sha256(data).hexdigest()[:12] for data in found], None
        except (ValueError, RuntimeError, OSError) as error:
            images, refused = [], error
        faults = read_faults()
        with self.lock:
            record = {"text": text, "images": images, "files": files, "max_tokens": body["max_tokens"]}
            record["seed"] = body.get("seed")
            record["time"] = time.time()
            record["uuids"] = [part["uuid"] for part in pictures if "uuid" in part]
            record["alone"] = bool(urls) and not any(urls)
            with open(os.environ["STAND_IN_REQUESTS"], "a") as file:
                file.write(json.dumps(record) + "\n")
            seen = self.server.seen[text, *images] = self.server.seen.get((text, *images), 0) + 1
            self.server.received += 1
            number = self.server.received
        while number > faults.get("hold", number) and faults.get("only", text) in (text, *images):
            time.sleep(0.1)
            faults = read_faults()
        if refused is not None:
            return self.reply(400 if isinstance(refused, ValueError) else 500, {"error": {"message": str(refused)}})
        time.sleep(faults.get("delay_s", 0))
        if "random" in faults and (fault := random_fault(faults, text, images, seen)):
            return self.fail(fault, text, images)
        fault = faults.get("fault")
        if fault and seen <= faults.get("times", 10**9) and faults.get("only", text) in (text, *images):
            if faults.get("once"):
                Path(os.environ["STAND_IN_FAULTS"]).unlink()
            return self.fail(fault, text, images)
        self.reply(200, completion(read_answers().get(text, right_answer(text, images))))

    def fail(self, fault, text, images):
        if isinstance(fault, dict):
            return self.reply(
                fault["status"], fault.get("body", {"error": {"message": "injected"}}), fault.get("headers")
            )
        if fault == "die":
            os._exit(3)
        if fault == "hang":
            return time.sleep(3600)
        if fault == "close":
            self.close_connection = True
            return self.connection.close()
        if fault == "half":
            data = json.dumps(completion("never whole")).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return None
        if fault == "trickle":
            return self.send_slowly(itertools.repeat(b"\n"))
        if fault == "drip":
            data = json.dumps(completion(right_answer(text, images))).encode()
            return self.send_slowly([b"\n"] * 5 + [data[:9], data[9:]])
        bodies = {
            "html": "<html>proxy error</html>",
            "empty": completion(""),
            "null": completion(None),
            "no choices": {**completion("x"), "choices": []},
            "length": completion("cut short", "length"),
        }
        return self.reply(200, bodies[fault])

    def send_slowly(self, parts):
        """A body without a length, ten parts a second; the client may hang up."""
        self.close_connection = True
        with suppress(OSError):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Connection", "close")
            self.end_headers()
            for part in parts:
                self.wfile.write(part)
                time.sleep(0.1)

    def proof(self, challenge):
        """That this server holds the key, for this connection between two IPv4 addresses."""
        ends = [f"{host} {port}" for host, port in (self.client_address, self.connection.getsockname())]
        text = "\n".join(["captionqa proof", challenge, *ends])
        return hmac.new(os.environ["VLLM_API_KEY"].encode(), text.encode(), "sha256").hexdigest()

    def allowed(self):
        key = os.environ.get("VLLM_API_KEY")
        return not key or self.headers.get("Authorization") == f"Bearer {key}"

    def reply(self, status, body, headers=None):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


def right_answer(text, images):
    """What a healthy server says to a text and the digests of its images."""
    digest = hashlib.sha256(json.dumps([text, images]).encode()).hexdigest()[:8]
    letters = os.environ.get("STAND_IN_LETTERS", "A")
    return f"{digest} {' '.join(images)}. The answer is {letters[int(digest, 16) % len(letters)]}."


def random_fault(faults, text, images, seen):
    chance = random.Random(json.dumps([faults["seed"], text, images, seen]))
    if chance.random() >= faults["random"]:
        return None
    (fault,) = chance.choices(list(RANDOM_FAULTS), RANDOM_FAULTS.values())
    return {"status": fault, "headers": {"Retry-After": "0.2"}} if isinstance(fault, int) else fault


def count_requests(path):
    """How often each request was asked, by the file that keeps them."""
    counts = {}
    if path.exists():
        for record in map(json.loads, path.read_text().splitlines()):
            key = (record["text"], *record["images"])
            counts[key] = counts.get(key, 0) + 1
    return counts


def completion(text, finish_reason="stop"):
    return {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5},
    }


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    media_folder = None
    #: Where it says that its model is from.
    root = None
    image_cache = IMAGE_CACHE
    #: How many requests it has had.
    received = 0

    def __init__(self, *arguments):
        super().__init__(*arguments)
        #: {uuid: the bytes of an image}, the least recently used first
        self.kept = OrderedDict()

    def picture(self, index, part):
        """The bytes of the index-th image: those that are kept under its uuid, if it has one."""
        url, uuid = part["image_url"].get("url"), part.get("uuid")
        data = self.image(url) if url else None
        if uuid is None:
            return data
        with Handler.lock:
            if uuid in self.kept:
                self.kept.move_to_end(uuid)
            elif data is None:
                raise ValueError(f"Cache miss for image at index {index} but data is not provided.")
            else:
                self.kept[uuid] = data
                if len(self.kept) > self.image_cache:
                    self.kept.popitem(last=False)
                return data
            return self.kept[uuid]

    def image(self, url):
        """The bytes of an image; with vLLM's words and kinds of errors for a file that it does not read."""
        if self.media_folder is not None and not Path(self.media_folder).exists():
            raise ValueError(f"Invalid `--allowed-local-media-path`: The path {self.media_folder} does not exist.")
        if not url.startswith("file:"):
            return base64.b64decode(url.partition(",")[2])
        if self.media_folder is None:
            raise RuntimeError("Cannot load local files without `--allowed-local-media-path`.")
        path = Path(referred_file(url))
        if Path(self.media_folder).resolve() not in path.resolve().parents:
            raise ValueError(f"The file path {path} must be a subpath of `--allowed-local-media-path`.")
        return path.read_bytes()


def referred_file(url):
    """The path in a file's URL, as vLLM takes it."""
    return url2pathname(urlsplit(url).netloc + urlsplit(url).path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--served-model-name", default="stand-in")
    parser.add_argument("--allowed-local-media-path")
    args, _ = parser.parse_known_args()
    if os.environ.get("STAND_IN_FAIL_START"):
        sys.exit(os.environ["STAND_IN_FAIL_START"])
    time.sleep(float(os.environ.get("STAND_IN_LOADING_S", 0)))
    while read_faults().get("loading"):
        time.sleep(0.1)
    server = Server((args.host, args.port), Handler)
    server.model, server.seen = args.served_model_name, count_requests(Path(os.environ["STAND_IN_REQUESTS"]))
    server.media_folder = args.allowed_local_media_path
    print(f"listening on {server.server_address}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
