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
from captionqa.run.file_lock import Lock, try_lock
from captionqa.server.endpoint import Endpoint

#: Names another file for the rates; an empty value keeps none.
VARIABLE = "CAPTIONQA_RATES"
#: Fewer requests, or a shorter time, tell no rate.
MIN_REQUESTS = 100
MIN_REQUEST_TIME_S = 60.0
#: Tries, and seconds between two, to lock the file that all of the user's runs share: another writes for a moment.
LOCK_TRIES, LOCK_PAUSE_S = 20, 0.1


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
    """Where the rates are; None where the user wants none to be kept, or has no folder for them."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    except RuntimeError:  # a user without a home, as in a container
        return None
    return Path(cache) / "captionqa" / "rates.json"


def read_rates(model: str) -> list[MeasuredRate]:
    """The rates of a model; none where the file is missing or is not ours."""
    file = rates_file()
    return [] if file is None else [rate for rate in _stored(file) if rate.model == model]


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


def _stored(file: Path) -> list[MeasuredRate]:
    """The rates in a file, without entries of another version or of the user's own."""
    stored = read_json(file)
    entries = stored.get("rates") if isinstance(stored, dict) else None
    rates = []
    for entry in entries if isinstance(entries, list) else []:
        with suppress(TypeError, ValueError, KeyError):
            tokens_per_s, requests = float(entry["tokens_per_s"]), int(entry["requests"])
            if tokens_per_s > 0:
                rates.append(MeasuredRate(**entry | {"tokens_per_s": tokens_per_s, "requests": requests}))
    return rates


def _replace(file: Path, rate: MeasuredRate) -> None:
    """Store a rate in place of that of the same model and hardware; not at all where the file stays locked."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file.with_suffix(".lock"), "a") as lock:
        for _ in range(LOCK_TRIES):  # not for ever: the lock may be held on a machine that a network file system lost
            if try_lock(lock.fileno(), fcntl.LOCK_EX) is not Lock.BUSY:
                break
            time.sleep(LOCK_PAUSE_S)
        else:
            return
        others = [one for one in _stored(file) if (one.model, one.hardware) != (rate.model, rate.hardware)]
        write_json(file, {"rates": list(map(asdict, [*others, rate]))})
