"""When Slurm was given client jobs, started and ended them, from what squeue prints; tests/slurm has the real one."""

import pytest
from captionqa.server.client_job_times import ClientJobClock, ClientJobTimes

RULES = ("caption_chunk", "answer_chunk")


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """A squeue that prints these lines, or fails with none."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    script = tmp_path / "squeue"

    def install(*lines):
        (tmp_path / "lines").write_text("".join(f"{line}\n" for line in lines))
        script.write_text(f'#!/bin/sh\necho "$SLURM_TIME_FORMAT" "$@" > {tmp_path}/call\ncat {tmp_path}/lines\n')
        script.write_text(script.read_text() + ("" if lines else "exit 1\n"))
        script.chmod(0o755)
        return tmp_path / "call"

    return install


def test_what_slurm_only_expects_is_no_time(squeue):
    call = squeue(
        "Welcome | to | the | queue | of | us",
        "1|COMPLETED|100|101|116|rule_caption_chunk_wildcards_a",
        "2|RUNNING|100|103|900|rule_answer_chunk_wildcards_b",
        "3|PENDING|104|800|900|rule_caption_chunk_wildcards_c",
        "4|CANCELLED|104|110|110|rule_caption_chunk_wildcards_d",
        "5|COMPLETING|104|106|111|rule_caption_chunk_wildcards_e|f",
        "6|PENDING|104|N/A|N/A|rule_caption_chunk_wildcards_g",
        "7|COMPLETED|100|101|116|rule_merge_captions_wildcards_h",
    )
    assert ClientJobClock("run", RULES).times() == [
        ClientJobTimes(100.0, 101.0, 116.0),
        ClientJobTimes(100.0, 103.0),
        ClientJobTimes(104.0),
        ClientJobTimes(104.0, 110.0, 110.0),
        ClientJobTimes(104.0, 106.0, 111.0),
        ClientJobTimes(104.0),
    ]
    assert call.read_text().startswith("%s ")
    assert "--name=run " in call.read_text()


def test_a_job_that_slurm_has_forgotten_keeps_its_times(squeue):
    squeue("1|COMPLETED|100|101|116|rule_caption_chunk")
    clock = ClientJobClock("run", RULES)
    clock.note()
    squeue("2|RUNNING|120|121|900|rule_caption_chunk")
    clock.note()  # not yet time to ask again
    assert clock.times() == [ClientJobTimes(100.0, 101.0, 116.0), ClientJobTimes(120.0, 121.0)]
    squeue()
    assert len(clock.times()) == 2
