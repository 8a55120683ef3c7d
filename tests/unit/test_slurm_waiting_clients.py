"""Which of Slurm's reasons for a job to wait pass by themselves."""

import pytest
from captionqa.server.slurm_waiting_clients import HELD, HOPELESS, USERS_LIMIT, WaitingClients


@pytest.mark.parametrize(
    "reason",
    [
        *("PartitionTimeLimit", "BadConstraints", "InvalidQOS", "AccountNotAllowed", "QOSMaxWallDurationPerJobLimit"),
        *("AssocMaxCpuPerJobLimit", "QOSMaxMemoryPerJob", "AssocGrpCPUMinutesLimit", "QOSGrpBillingMinutes"),
    ],
)
def test_a_limit_that_the_job_itself_exceeds_and_a_spent_budget_do_not_pass(reason):
    assert HOPELESS.fullmatch(reason)
    assert not HELD.fullmatch(reason)


@pytest.mark.parametrize("reason", ["JobHeldUser", "JobHeldAdmin", "launch failed requeued held", "JobHoldMaxRequeue"])
def test_a_held_job_is_told_from_others(reason):
    assert HELD.fullmatch(reason)


@pytest.mark.parametrize(
    "reason",
    [
        *("None", "Resources", "Priority", "BeginTime", "PartitionDown", "Licenses", "AssocGrpJobsLimit"),
        *(
            "QOSMaxSubmitJobPerUserLimit",
            "AssocGrpCpuLimit",
            "AssocGrpCPURunMinutesLimit",
            "ReqNodeNotAvail, May be reserved",
        ),
    ],
)
def test_what_others_jobs_or_nodes_decide_passes(reason):
    assert not any(kind.fullmatch(reason) for kind in (HOPELESS, HELD, USERS_LIMIT))


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """A squeue that prints the jobs it is given; a limit per user needs an accounting database."""
    path = tmp_path / "bin" / "squeue"
    path.parent.mkdir()
    path.write_text(
        f'#!/bin/sh\ncase "$*" in *--states=*) cat {tmp_path}/running;; *--name=run*) cat {tmp_path}/named;; esac\n'
    )
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent), prepend=":")

    def fill(reason: str, *running: str):
        (tmp_path / "named").write_text(f"12|PENDING|{reason}\n13|PENDING|{reason}\n")
        (tmp_path / "running").write_text("".join(f"{line}\n" for line in running))

    return fill


@pytest.mark.parametrize("reason", ["QOSMaxJobsPerUserLimit", "QOSMaxCpuPerUserLimit", "AssocMaxJobsLimit"])
def test_a_users_limit_that_the_runs_own_servers_use_up_does_not_pass(queue, reason, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "9")  # the driver may be a job too
    clients = WaitingClients("run", 0, hopeless_s=3600, held_s=0)
    queue(reason, "9|driver", "11|run-server-0", "10|another")
    assert clients.check() is None
    queue(reason, "9|driver", "11|run-server-0")
    said = clients.check()
    assert said
    assert f"2 for {reason}. This does not pass, so the run ends; beside this run's own servers the" in said
    assert WaitingClients("run", 0, hopeless_s=0, held_s=3600).check() is None
