"""The stand-in server with faults that a test turns on and off while the server runs.

AILMENTS names a JSON file, read at each request: `health_fails`, `post_hangs`, `foreign` (no server, or the one of this
process id, can prove that it has the key), `beats` (which heartbeats advance at each health check), and `running` and
`waiting` with `tokens` for vLLM's metrics, where `advancing` tokens are more at each look.
"""

import itertools
import json
import os
import time
from pathlib import Path

import stand_in_server


class SickHandler(stand_in_server.Handler):
    looks = itertools.count()

    def do_GET(self):
        ailments = json.loads(Path(os.environ["AILMENTS"]).read_text())
        for number in ailments.get("beats", ()) if self.path == "/health" else ():
            Path(os.environ["TMPDIR"], f"heartbeat-{number}").touch()
        if self.path == "/health" and ailments.get("health_fails"):
            self.reply(503, {})
        elif self.path.startswith("/captionqa/proof") and ailments.get("foreign") in (True, os.getpid()):
            self.reply(404, {})
        elif self.path == "/metrics":
            values = {
                "num_requests_running": ailments.get("running", 0),
                "num_requests_waiting": ailments.get("waiting", 0),
                "generation_tokens_total": next(self.looks) if ailments.get("tokens") == "advancing" else 7,
            }
            self.reply(200, "# HELP\n" + "".join(f'vllm:{name}{{engine="0"}} {n}\n' for name, n in values.items()))
        else:
            super().do_GET()

    def do_POST(self):
        if json.loads(Path(os.environ["AILMENTS"]).read_text()).get("post_hangs"):
            Path(os.environ["AILMENTS"]).with_suffix(".hangs").touch()
            time.sleep(600)
        super().do_POST()


if __name__ == "__main__":
    stand_in_server.Handler = SickHandler
    stand_in_server.main()
