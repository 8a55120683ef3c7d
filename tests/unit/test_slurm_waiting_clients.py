"""Which of Slurm's reasons for a job to wait pass by themselves."""

import pytest
from captionqa.server.slurm_waiting_clients import HELD, HOPELESS


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
        *("None", "Resources", "Priority", "BeginTime", "PartitionDown", "Licenses", "QOSMaxJobsPerUserLimit"),
        *(
            "QOSMaxCpuPerUserLimit",
            "AssocGrpCpuLimit",
            "AssocGrpCPURunMinutesLimit",
            "ReqNodeNotAvail, May be reserved",
        ),
    ],
)
def test_what_others_jobs_or_nodes_decide_passes(reason):
    assert not HOPELESS.fullmatch(reason)
    assert not HELD.fullmatch(reason)
