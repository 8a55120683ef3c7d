"""A small OpenAI-compatible server for tests of everything around the model: no model, but a real process and sockets.

It takes vLLM's arguments and key, and answers with a digest of what it was sent, so that every request has one right
answer. Faults are injected through a JSON file named by STAND_IN_FAULTS, read at each request:

    {"delay_s": 0.1}                                       wait before each answer
    {"fault": "half", "only": "text", "times": 2}          spoil the first two answers to each request of this text
    {"fault": "die", "once": true}                         spoil one answer, whichever comes first

Faults: die, hang, close, half, html, empty, null, no choices, length, or {"status", "headers", "body"}.
A test gives answers of its own in the JSON file {text: answer} named by STAND_IN_ANSWERS.
Each request is appended to the file named by STAND_IN_REQUESTS as {"text", "images" (digests), "max_tokens", "time"}.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


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
            key, challenge = os.environ["VLLM_API_KEY"], self.path.partition("?")[2]
            self.reply(200, hmac.new(key.encode(), challenge.encode(), "sha256").hexdigest())
        elif not self.allowed():
            self.reply(401, {"error": "Unauthorized"})
        elif self.path == "/v1/models":
            self.reply(200, {"object": "list", "data": [{"id": self.server.model}]})
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
        images = [
            hashlib.sha256(base64.b64decode(part["image_url"]["url"].partition(",")[2])).hexdigest()[:12]
            for part in parts
            if part["type"] == "image_url"
        ]
        faults = read_faults()
        with self.lock:
            record = {"text": text, "images": images, "max_tokens": body["max_tokens"], "time": time.time()}
            with open(os.environ["STAND_IN_REQUESTS"], "a") as file:
                file.write(json.dumps(record) + "\n")
            seen = self.server.seen[text, *images] = self.server.seen.get((text, *images), 0) + 1
        time.sleep(faults.get("delay_s", 0))
        fault = faults.get("fault")
        if fault and seen <= faults.get("times", 10**9) and faults.get("only", text) in (text, *images):
            if faults.get("once"):
                Path(os.environ["STAND_IN_FAULTS"]).unlink()
            return self.fail(fault)
        answer = hashlib.sha256(json.dumps([text, images]).encode()).hexdigest()[:8]
        self.reply(200, completion(read_answers().get(text, f"{answer} {' '.join(images)}. The answer is A.")))

    def fail(self, fault):
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
        bodies = {
            "html": "<html>proxy error</html>",
            "empty": completion(""),
            "null": completion(None),
            "no choices": {**completion("x"), "choices": []},
            "length": completion("cut short", "length"),
        }
        return self.reply(200, bodies[fault])

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


def completion(text, finish_reason="stop"):
    return {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5},
    }


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--served-model-name", default="stand-in")
    args, _ = parser.parse_known_args()
    if os.environ.get("STAND_IN_FAIL_START"):
        sys.exit(os.environ["STAND_IN_FAIL_START"])
    time.sleep(float(os.environ.get("STAND_IN_LOADING_S", 0)))
    server = Server((args.host, args.port), Handler)
    server.model, server.seen = args.served_model_name, {}
    print(f"listening on {server.server_address}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
