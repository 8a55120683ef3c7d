"""Measured rates: how many tokens a second one server of a kind took of a model, from this user's own runs.

They are kept across output folders in a JSON file of the user's cache folder, one entry for each model and kind of
hardware, the last that was measured. `captionqa estimate` prefers them to arithmetic. Whoever deletes the file forgets
them.
"""

import fcntl
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from captionqa.config.config import Config
from captionqa.driver.load_figures import ClientLoad, ServerLoad
from captionqa.driver.phases import RequestTime
from captionqa.files import read_json, write_json
from captionqa.server.endpoint import Endpoint

#: Names another file for the rates; an empty value keeps none.
VARIABLE = "CAPTIONQA_RATES"
#: Fewer requests, or a shorter time, tell no rate.
MIN_REQUESTS = 100
MIN_REQUEST_TIME_S = 60.0


@dataclass(frozen=True)
class MeasuredRate:
    """What one server took."""

    #: The model's hub id or folder, what the server computed on, and the version of vLLM.
    model: str
    hardware: str
    vllm: str
    #: Of prompts and answers together.
    tokens_per_s: float
    #: The requests that it was measured on, and the day.
    requests: int
    day: str


def rates_file() -> Path | None:
    """Where the rates are; None where the user wants none to be kept."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "captionqa" / "rates.json"


def read_rates(model: str) -> list[MeasuredRate]:
    """The rates of a model; none where the file is missing or is not ours."""
    file = rates_file()
    stored = None if file is None else read_json(file)
    rates = []
    with suppress(TypeError, KeyError):  # a file of another version, or of the user's own
        rates = [MeasuredRate(**entry) for entry in stored["rates"]] if stored else []
    return [rate for rate in rates if rate.model == model]


def keep_rate(
    config: Config, servers: Sequence[Endpoint], load: ServerLoad | None, clients: ClientLoad, requests: RequestTime
) -> None:
    """Keep the rate of a run, where it was long enough and captionqa started its servers, all on the same hardware."""
    file, kinds = rates_file(), {server.hardware for server in servers}
    if file is None or load is None or len(kinds) != 1 or (hardware := kinds.pop()) is None:
        return
    seconds = requests.seconds - requests.without_server_s - requests.without_client_s
    if clients.asked < MIN_REQUESTS or seconds < MIN_REQUEST_TIME_S or not load.tokens_per_s:
        return
    rate = MeasuredRate(
        model_key(config),
        hardware,
        servers[0].versions.get("vllm", "unknown"),
        load.tokens_per_s / len(servers),
        clients.asked,
        time.strftime("%Y-%m-%d"),
    )
    with suppress(OSError):  # a cache that cannot be written costs an estimate
        _replace(file, rate)


def model_key(config: Config) -> str:
    """The model as rates name it: its hub id, or its folder from the root."""
    path = config.model.path
    return str(Path(path).resolve()) if Path(path).is_dir() else path


def _replace(file: Path, rate: MeasuredRate) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file.with_suffix(".lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stored = read_json(file)
        rates = stored.get("rates", []) if isinstance(stored, dict) else []
        others = [one for one in rates if (one.get("model"), one.get("hardware")) != (rate.model, rate.hardware)]
        write_json(file, {"rates": [*others, asdict(rate)]})
