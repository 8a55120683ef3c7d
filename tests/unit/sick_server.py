"""The stand-in server with ailments that a test turns on and off while it runs.

AILMENTS names a JSON file, read at each request: `health_fails`, `post_hangs`, and `running` with `tokens` for vLLM's
metrics, where `advancing` tokens are more at each look.
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
        if self.path == "/health" and ailments.get("health_fails"):
            self.reply(503, {})
        elif self.path == "/metrics":
            tokens = next(self.looks) if ailments.get("tokens") == "advancing" else 7
            running = f'vllm:num_requests_running{{engine="0"}} {ailments.get("running", 0)}'
            self.reply(200, f'# HELP\n{running}\nvllm:generation_tokens_total{{engine="0"}} {tokens}\n')
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
