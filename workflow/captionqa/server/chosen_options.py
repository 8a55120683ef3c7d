"""The options of vLLM that captionqa chooses for a server from its job and from what will be asked, each with a reason.

What a user gives in `server.extra_args` wins: such an option is not chosen.
"""

import os
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from captionqa.config.config import Config
from captionqa.config.model_config import ServerConfig
from captionqa.config.repeats import samples_by_seed
from captionqa.config.vllm_options import (
    API_SERVERS,
    DATA_PARALLEL,
    DEFAULT_IMAGE_CACHE_GB,
    IMAGE_CACHE_GB,
    api_server_count,
    is_given,
    option_value,
)
from captionqa.server.vllm_command import is_cpu_build

#: The command that starts one API server whatever it is told, though it takes the option.
SINGLE_API_SERVER = "openai.api_server"
#: Of vLLM's two backends that can leave out white space this one takes more of JSON schema.
COMPACT_JSON = ("--structured-outputs-config", '{"backend": "guidance", "disable_any_whitespace": true}')
#: Each prompt is then prefilled in one step, which has to hold all of it. vLLM makes its steps as large as the longest
#: prompt unless BATCHED_TOKENS says how large.
WHOLE_PROMPTS = "--no-enable-chunked-prefill"
BATCHED_TOKENS = "--max-num-batched-tokens"
#: What an API server keeps busy: one thread that preprocesses images, and threads that decode them and do HTTP.
CORES_PER_API_SERVER = 2
#: More would cost memory (about 1.5 GB each), and no published server has needed more.
MOST_API_SERVERS = 8


class Work(TypedDict):
    """What a server will be asked, as far as its options depend on it."""

    #: Whether requests hold images.
    images: bool
    #: Whether several requests may be about one image.
    reuse: bool
    #: Whether captions are JSON by a schema; missing where they are not.
    schema: NotRequired[bool]
    #: Whether some requests sample by a seed; missing where they do not, and where no option depends on it.
    seeds: NotRequired[bool]


@dataclass(frozen=True)
class ServerJob:
    """Where a server runs."""

    cores: int
    #: Whether client jobs run on the same cores.
    has_clients: bool
    #: Whether the model computes on the same cores too.
    is_cpu_build: bool


@dataclass(frozen=True)
class Choice:
    """One choice."""

    #: What the command line gets; nothing where the choice is to leave an option out.
    words: tuple[str, ...]
    #: For the user.
    reason: str

    @property
    def text(self) -> str:
        """The choice with its reason."""
        return f"{' '.join(self.words)}: {self.reason}" if self.words else self.reason


def work_of(config: Config, model: str) -> Work:
    """What a configuration asks a model's server, of all data sets together."""
    works = [_work_of(each, model) for each in config.data_sets.values()]
    work: Work = {"images": any(each["images"] for each in works), "reuse": any(each["reuse"] for each in works)}
    if any("schema" in each for each in works):
        work["schema"] = True
    if any("seeds" in each for each in works):
        work["seeds"] = True
    return work


def _work_of(config: Config, model: str) -> Work:
    pictures = any(context.sends_pictures for context in config.contexts_of(model))
    questions = config.qa is not None and config.qa.columns.images is not None and pictures
    captions = "captions" in config.tasks_of(model)
    work: Work = {
        "images": captions or questions,
        "reuse": questions or (captions and len(config.caption_sets) > 1),
    }
    if captions and config.section("captions").schema is not None:
        work["schema"] = True
    server = config.models[model].server
    # of another server this would be a reason to start it again, with the same options
    if server.tuning == "auto" and is_cpu_build(server.command) and samples_by_seed(config, model):
        work["seeds"] = True
    return work


def job_cores(environment: Mapping[str, str] = os.environ) -> int:
    """The cores that this process may use; where Slurm does not enforce a job's share, that share."""
    share = environment.get("SLURM_CPUS_PER_TASK", "")
    cores = len(os.sched_getaffinity(0))
    return min(cores, int(share)) if share.isdigit() and int(share) else cores


def engine_cores(gpus: int, engines: int = 1) -> int:
    """The cores of a server's engines, each with so many GPUs."""
    return engines * (1 + (gpus if gpus > 1 else 0))  # a single GPU's worker is in the engine's process


def choose(
    settings: ServerConfig, command: Sequence[str], job: ServerJob, work: Work, unknown: Set[str] = frozenset()
) -> list[Choice]:
    """The options that a server gets; `command` is what starts it, and its vLLM does not know those of `unknown`."""
    api_servers = [_unless_unknown(choice, unknown) for choice in _api_servers(settings, command, job, work)]
    if settings.tuning != "auto":
        return api_servers
    words = [word for choice in api_servers for word in choice.words]
    count = api_server_count([*words, *settings.extra_args])
    tuned = [*_caches(count, work), *_encoder(settings, work), *_compact_json(settings, work)]
    wanted = [choice for choice in tuned if not _is_given(settings.extra_args, choice.words[0])]
    wanted += _whole_prompts(settings, job, work)
    return [*api_servers, *(_unless_unknown(choice, unknown) for choice in wanted)]


def _unless_unknown(choice: Choice, unknown: Set[str]) -> Choice:
    if unknown.isdisjoint(choice.words):
        return choice
    return Choice((), f"{' '.join(choice.words)} is left out, since this vLLM does not know it")


def _is_given(extra_args: Sequence[str], option: str) -> bool:
    """Whether the user gives an option or its opposite, in either spelling."""
    plain = option.removeprefix("--no-").removeprefix("--")
    return any(is_given(extra_args, name) for name in (f"--{plain}", f"--no-{plain}"))


def _caches(api_servers: int, work: Work) -> list[Choice]:
    """The caches of images and prompts, by whether anything is asked for twice."""
    if not work["images"]:
        return []
    if not work["reuse"]:
        reason = "each image is asked about once, so a cache of images would only take memory"
        without_hash = "with neither cache vLLM need not hash the pixels"
        return [Choice((IMAGE_CACHE_GB, "0"), reason), Choice(("--no-enable-prefix-caching",), without_hash)]
    if api_servers == 1:
        return []
    each_gb = max(1, DEFAULT_IMAGE_CACHE_GB // api_servers)
    return [Choice((IMAGE_CACHE_GB, str(each_gb)), f"{api_servers} API servers have a cache each, of images")]


def _encoder(settings: ServerConfig, work: Work) -> list[Choice]:
    if not work["images"] or (settings.tensor_parallel_size or 1) == 1:
        return []
    reason = "each GPU encodes whole images, where the model can, so that none waits for the others in each layer"
    return [Choice(("--mm-encoder-tp-mode", "data"), reason)]


def _compact_json(settings: ServerConfig, work: Work) -> list[Choice]:
    given = [word.replace("_", "-") for word in settings.extra_args]  # also one value of it, after a dot
    if not work.get("schema") or any(word.startswith(COMPACT_JSON[0]) for word in given):
        return []
    return [Choice(COMPACT_JSON, "captions.schema: a small model may fill its answer with blanks that JSON allows")]


def _whole_prompts(settings: ServerConfig, job: ServerJob, work: Work) -> list[Choice]:
    """No prefill in parts where vLLM would end with "CPU Generator does not use offset".

    After each part but the last it sets the generator of a request with a seed back, which torch has for GPUs alone.
    """
    if not job.is_cpu_build or not work.get("seeds") or _is_given(settings.extra_args, WHOLE_PROMPTS):
        return []
    length, given = settings.max_model_len, option_value(settings.extra_args, BATCHED_TOKENS)
    if length is None:
        missing = "a server.max_model_len, which is null"
    elif given is not None and not (given.isdecimal() and int(given) >= length):
        missing = f"{BATCHED_TOKENS} of {length} or more, and server.extra_args has {given}"
    else:
        return [Choice((WHOLE_PROMPTS,), "vLLM's CPU build crashes where a prompt with a seed is prefilled in parts")]
    crash = "vLLM's CPU build may crash on requests with a seed"
    return [Choice((), f"{crash}: {WHOLE_PROMPTS}, which avoids it, needs {missing}")]


def _api_servers(settings: ServerConfig, command: Sequence[str], job: ServerJob, work: Work) -> list[Choice]:
    """The choice of the number of API servers; none where vLLM is to start one, as it does by itself."""
    wanted = settings.api_servers
    given = settings.extra_args
    # vLLM starts one for each copy of the model unless it is told their number
    if is_given(given, API_SERVERS) or (wanted == "auto" and is_given(given, DATA_PARALLEL)):
        return []
    single = any(SINGLE_API_SERVER in word for word in command)
    if wanted != "auto":
        if single and wanted > 1:
            return [Choice((), f"server.api_servers: {wanted} needs `vllm serve` in server.command: one is started")]
        return [] if single else [Choice((API_SERVERS, str(wanted)), "as server.api_servers says")]
    count, reason = _fitting(settings, job, work)
    if count == 1:
        return []
    if "serve" not in re.split(r"\s+", " ".join(command)):
        return [Choice((), f"one API server, where {count} would fit ({reason}): server.command is not `vllm serve`")]
    return [Choice((API_SERVERS, str(count)), reason)]


def _fitting(settings: ServerConfig, job: ServerJob, work: Work) -> tuple[int, str]:
    """(how many API servers fit a job, why)."""
    if job.is_cpu_build or not work["images"]:
        return 1, "there is nothing to preprocess, or no core for it"
    engine = engine_cores(settings.tensor_parallel_size or 1)
    shared = job.cores // 2 if job.has_clients else job.cores
    count = max(1, min((shared - engine) // CORES_PER_API_SERVER, MOST_API_SERVERS))
    whose = f"half of the machine's {job.cores} cores" if job.has_clients else f"the {job.cores} cores of its job"
    return count, f"{whose} hold {count} API servers of {CORES_PER_API_SERVER} cores and {engine} for the engine"
