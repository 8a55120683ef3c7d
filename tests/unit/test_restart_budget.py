"""The restart budget: crashes in a row use it up, work in between refills it."""

from captionqa.server.restart_budget import RestartBudget


def test_a_budget_that_no_work_refills_is_used_up():
    budget = RestartBudget(limit=2, forgiven_after_s=100)
    assert [budget.spend() for _ in range(4)] == [True, True, False, False]
    assert budget.spent == 2


def test_without_a_budget_there_is_no_restart():
    assert not RestartBudget(limit=0, forgiven_after_s=100).spend()


def test_enough_work_forgives_all_restarts_before():
    budget = RestartBudget(limit=2, forgiven_after_s=100)
    for _ in range(20):
        assert budget.spend()
        assert budget.spend()
        budget.add_generating(60)
        budget.add_generating(60)


def test_work_between_crashes_that_is_too_short_each_time_forgives_none():
    budget = RestartBudget(limit=2, forgiven_after_s=100)
    allowed = []
    for _ in range(4):
        budget.add_generating(99)
        allowed.append(budget.spend())
    assert allowed == [True, True, False, False]
