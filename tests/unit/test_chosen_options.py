"""Which options of vLLM captionqa chooses for a server, and why."""

import json
import os
import subprocess
import time

import pytest
from captionqa.server import hardware as hardware_module
from captionqa.server import vllm_command
from captionqa.server.chosen_options import ServerJob, Work, choose, job_cores, work_of
from captionqa.server.hardware import hardware

SERVE = ["python", "-m", "vllm.entrypoints.cli.main", "serve"]
SINGLE = ["python3", "-m", "vllm.entrypoints.openai.api_server"]
IMAGES: Work = {"images": True, "reuse": True}
ONCE: Work = {"images": True, "reuse": False}
TEXT: Work = {"images": False, "reuse": False}


@pytest.fixture
def chosen(make_config):
    """The words chosen for a job, and the sentences about them; keywords change the `server` settings."""

    def choices(job=None, command=SERVE, work=IMAGES, unknown=frozenset(), **changes):
        settings = make_config({"models": {"tiny": {"server": {"tuning": "off"} | changes}}}).model.server
        made = choose(settings, command, job or ServerJob(16, False, False), work, unknown)
        return [word for choice in made for word in choice.words], [choice.text for choice in made]

    return choices


@pytest.mark.parametrize(
    ("cores", "has_clients", "gpus", "count"),
    [(8, False, 1, 3), (16, False, 1, 7), (16, False, 4, 5), (64, False, 1, 8), (32, True, 1, 7), (4, True, 1, 1)],
    ids=str,
)
def test_as_many_api_servers_as_the_cores_of_the_job_hold(chosen, cores, has_clients, gpus, count):
    words, sentences = chosen(ServerJob(cores, has_clients, False), tensor_parallel_size=gpus)
    assert words == ([] if count == 1 else ["--api-server-count", str(count)])
    assert all(f"{cores} cores" in sentence for sentence in sentences)


@pytest.mark.parametrize(
    ("job", "work"),
    [
        (ServerJob(4, False, False), IMAGES),
        (ServerJob(1, True, False), IMAGES),
        (ServerJob(64, False, True), IMAGES),
        (ServerJob(64, False, False), TEXT),
    ],
    ids=["few cores", "no core", "the CPU build", "no images"],
)
def test_one_api_server_is_what_vllm_starts_by_itself_and_nothing_is_said(chosen, job, work):
    assert chosen(job, work=work) == ([], [])


def test_the_configured_number_counts_wherever_the_server_runs(chosen):
    assert chosen(ServerJob(1, True, True), api_servers=2)[0] == ["--api-server-count", "2"]
    assert chosen(api_servers=1)[0] == ["--api-server-count", "1"]


@pytest.mark.parametrize("given", ["--api-server-count", "--api_server_count", "-asc"])
def test_what_the_user_says_of_api_servers_in_extra_args_is_left_alone(chosen, given):
    assert chosen(extra_args=[given, "4"], api_servers=3) == chosen(extra_args=[f"{given}=4"]) == ([], [])


@pytest.mark.parametrize("given", [["--data-parallel-size", "4"], ["--data_parallel_size=4"], ["-dp", "4"], ["-dp=4"]])
def test_several_copies_of_the_model_have_an_api_server_each_unless_the_user_says_how_many(chosen, given):
    assert chosen(extra_args=given) == ([], [])
    assert chosen(extra_args=given, api_servers=3)[0] == ["--api-server-count", "3"]
    assert chosen(extra_args=given, tuning="auto")[0] == ["--mm-processor-cache-gb", "1"]


@pytest.mark.parametrize("command", [["vllm", "serve"], ["apptainer", "exec", "vllm.sif", "vllm", "serve"], SERVE])
def test_a_command_that_runs_vllm_serve_gets_api_servers(chosen, command):
    assert chosen(command=command)[0] == ["--api-server-count", "7"]
    shell = ["bash", "-lc", 'module load vllm && exec vllm serve "$@"', "vllm"]
    assert chosen(command=shell)[0] == ["--api-server-count", "7"]


def test_a_command_that_can_start_one_api_server_alone_is_left_as_it_is_with_a_line(chosen):
    words, (sentence,) = chosen(command=SINGLE, api_servers=4)
    assert words == []
    assert "server.api_servers: 4 needs `vllm serve`" in sentence
    assert chosen(command=SINGLE, api_servers=1) == ([], [])
    words, (sentence,) = chosen(command=SINGLE)
    assert words == []
    assert "7 would fit" in sentence
    assert "`vllm serve`" in sentence


def test_a_command_that_cannot_be_told_gets_what_is_configured_and_nothing_by_itself(chosen):
    assert chosen(command=["./serve.sh"])[0] == []
    assert chosen(command=["./serve.sh"], api_servers=2)[0] == ["--api-server-count", "2"]


def test_the_cores_are_those_that_the_process_may_use_and_no_more_than_slurm_gives():
    own = len(os.sched_getaffinity(0))
    assert job_cores({}) == job_cores({"SLURM_CPUS_PER_TASK": str(own + 8)}) == own
    assert job_cores({"SLURM_CPUS_PER_TASK": "1"}) == 1


def test_an_image_is_asked_about_more_than_once_by_questions_or_by_several_styles(make_config):
    assert work_of(make_config(), "tiny") == IMAGES
    assert work_of(make_config({"qa": None}), "tiny") == ONCE
    assert work_of(make_config({"qa": None, "captions": {"prompt_styles": ["SIMPLE", "LONG"]}}), "tiny") == IMAGES
    assert work_of(make_config({"captions": None, "qa": {"columns": {"images": None}}}), "tiny") == TEXT


FEW = ServerJob(4, False, False)
NO_CACHES = ["--mm-processor-cache-gb", "0", "--no-enable-prefix-caching"]


def test_nothing_is_cached_where_each_image_is_asked_about_once(chosen):
    assert chosen(FEW, work=ONCE, tuning="auto")[0] == NO_CACHES
    assert chosen(FEW, work=IMAGES, tuning="auto") == chosen(FEW, work=TEXT, tuning="auto") == ([], [])
    assert chosen(FEW, work=ONCE, tuning="off") == chosen(FEW, work=ONCE, tuning=False) == ([], [])


def test_the_caches_of_several_api_servers_take_no_more_memory_than_one(chosen):
    assert chosen(tuning="auto", api_servers=2)[0][2:] == ["--mm-processor-cache-gb", "2"]
    assert chosen(tuning="auto", api_servers=8)[0][2:] == ["--mm-processor-cache-gb", "1"]


def test_each_of_several_gpus_encodes_whole_images(chosen):
    assert chosen(FEW, tuning="auto", tensor_parallel_size=2)[0] == ["--mm-encoder-tp-mode", "data"]
    assert chosen(FEW, tuning="auto", tensor_parallel_size=2, work=TEXT)[0] == []


def test_captions_by_a_schema_have_no_blanks_to_fill(chosen, make_config, tmp_path):
    (tmp_path / "schema.json").write_text('{"type": "object"}')
    work = work_of(make_config({"captions": {"schema": str(tmp_path / "schema.json")}}), "tiny")
    option, value = chosen(FEW, tuning="auto", work=work)[0]
    assert (option, json.loads(value)["disable_any_whitespace"]) == ("--structured-outputs-config", True)
    assert chosen(FEW, tuning="off", work=work) == ([], [])
    for given in ("--structured-outputs-config={}", "--structured_outputs_config.backend=xgrammar"):
        assert chosen(FEW, tuning="auto", work=work, extra_args=[given]) == ([], [])


CPU_BUILD = ServerJob(4, True, True)
SEEDS: Work = {**TEXT, "seeds": True}
WHOLE_PROMPTS = "--no-enable-chunked-prefill"


def test_the_cpu_build_prefills_no_prompt_in_parts_where_requests_have_seeds(chosen):
    words, (sentence,) = chosen(CPU_BUILD, work=SEEDS, tuning="auto")
    assert words == [WHOLE_PROMPTS]
    assert "with a seed" in sentence
    assert chosen(CPU_BUILD, work=TEXT, tuning="auto") == chosen(FEW, work=SEEDS, tuning="auto") == ([], [])
    assert chosen(CPU_BUILD, work=SEEDS, tuning="off") == ([], [])
    for given in ("--enable-chunked-prefill", "--no_enable_chunked_prefill"):
        assert chosen(CPU_BUILD, work=SEEDS, tuning="auto", extra_args=[given]) == ([], [])


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"extra_args": ["--max-num-batched-tokens=8192"]}, None),
        ({"extra_args": ["--max_num_batched_tokens", "8191"]}, "of 8192 or more, and server.extra_args has 8191"),
        ({"extra_args": ["--max-num-batched-tokens", "8k"]}, "of 8192 or more, and server.extra_args has 8k"),
        ({"max_model_len": None}, "a server.max_model_len, which is null"),
    ],
    ids=str,
)
def test_whole_prompts_are_chosen_only_where_a_step_holds_the_longest_one(chosen, settings, missing):
    """vLLM does not start where it does not."""
    words, (sentence,) = chosen(CPU_BUILD, work=SEEDS, tuning="auto", **settings)
    assert words == ([] if missing else [WHOLE_PROMPTS])
    assert missing is None or sentence.endswith(missing)


@pytest.fixture
def cpu_build(tmp_path, monkeypatch):
    """A checkout with vLLM's CPU build: the file that marks it."""
    monkeypatch.setattr(vllm_command, "CHECKOUT", tmp_path)
    marker = tmp_path / vllm_command.SERVER_ENVIRONMENT / vllm_command.CPU_MARKER
    marker.parent.mkdir()
    marker.touch()
    return marker


SAMPLED = {"sampling": {"temperature": 0.7}}
SEEDED = {"sampling": {"temperature": 0.7, "seed": 1}}


@pytest.mark.parametrize(
    ("changes", "has_seeds"),
    [
        ({"client": SEEDED}, True),
        ({"client": {"sampling": {"temperature": None, "seed": 1}}}, True),
        ({"client": SAMPLED, "qa": {"samples": 2}}, True),
        ({"client": SAMPLED, "captions": {"samples": 2}}, True),
        ({"models": {"tiny": SEEDED}}, True),
        ({"client": SEEDED, "models": {"tiny": {"sampling": {"seed": None}}}}, False),
        ({"client": SAMPLED}, False),
        # vLLM makes a generator only for what is drawn
        ({"client": {"sampling": {"seed": 1}}}, False),
        ({"qa": {"shuffle_choices": {"rounds": 2, "seed": 1}}}, False),
        ({"client": SEEDED, "models": {"tiny": {"server": {"tuning": "off"}}}}, False),
        ({"client": SEEDED, "models": {"tiny": {"server": {"command": ["vllm", "serve"]}}}}, False),
    ],
    ids=str,
)
def test_seeds_are_part_of_the_work_where_a_server_has_options_for_them(make_config, cpu_build, changes, has_seeds):
    """Else a running server would be replaced by one like it."""
    config = make_config(changes)
    assert work_of(config, "tiny") == IMAGES | ({"seeds": True} if has_seeds else {})
    cpu_build.unlink()
    assert work_of(config, "tiny") == IMAGES


def test_a_judge_has_the_seed_of_its_sampling_and_none_of_further_samples(make_config, cpu_build):
    judged = {"models": {"critic": {"path": "org/critic"}}, "qa": {"judge": {"model": "critic"}, "samples": 2}}
    assert work_of(make_config(judged | {"client": SAMPLED}), "critic") == TEXT
    assert work_of(make_config(judged | {"client": SEEDED}), "critic") == SEEDS


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (["--mm_processor_cache_gb=1"], NO_CACHES[2:]),
        (["--mm-processor-cache-gb", "1", "--enable_prefix_caching"], []),
        (["--no-enable-prefix-caching"], NO_CACHES[:2]),
    ],
    ids=str,
)
def test_an_option_that_the_user_gives_in_any_spelling_is_not_chosen(chosen, given, left):
    assert chosen(FEW, work=ONCE, tuning="auto", extra_args=given)[0] == left


def test_an_option_that_this_vllm_does_not_know_is_left_out_with_a_line(chosen):
    words, sentences = chosen(FEW, work=ONCE, tuning="auto", unknown={"--mm-processor-cache-gb"})
    assert words == NO_CACHES[2:]
    assert sentences[0] == "--mm-processor-cache-gb 0 is left out, since this vLLM does not know it"
    # then there is one API server, whose cache stays as it is
    words, (sentence,) = chosen(tuning="auto", unknown={"--api-server-count"})
    assert words == []
    assert sentence == "--api-server-count 7 is left out, since this vLLM does not know it"


def test_hardware_is_told_by_the_gpus_that_a_server_takes():
    def gpus(*names):
        return ("printf", "%s\n", *names)

    assert hardware(8, False, 2, query=gpus("NVIDIA A100", "NVIDIA A100", "NVIDIA L4")) == "2 x NVIDIA A100"
    assert hardware(8, False, 2, query=gpus("NVIDIA A100", "NVIDIA L4")) == "1 x NVIDIA A100, 1 x NVIDIA L4"
    assert hardware(8, False, 2, "3,4", gpus()) == "1 x --id=3,4"
    assert hardware(8, False, 1, query=("false",)) is hardware(8, False, 1, query=("no-such-command",)) is None
    assert hardware(8, True, 1) == "CPU, 8 cores"


def test_a_query_that_no_signal_ends_does_not_hold_up_the_server(monkeypatch):
    """As nvidia-smi does with a GPU that is broken."""
    started, kill = [], subprocess.Popen.kill
    monkeypatch.setattr(hardware_module, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: started.append(process))
    before = time.monotonic()
    assert hardware(8, False, 1, query=("sleep", "10")) is None
    assert time.monotonic() - before < 5
    (process,) = started
    kill(process)
    process.communicate()
