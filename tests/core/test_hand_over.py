"""Tasks that are handed over to a cluster: when, how many, and what becomes of them."""

import random

import pytest

from fetchml.core import submit_quotas
from fetchml.core.events import (
    CancelRequested,
    CheckGpus,
    Collected,
    Ended,
    NeverStarted,
    RunAttempt,
    Started,
    Submitted,
    TimePassed,
)
from fetchml.core.model import AttemptEnd, FailureReason, Status, User
from fetchml.core.scheduling import hand_over
from fetchml.core.scheduling.waiting import Discarding, HandedOver
from fetchml.core.state import ClusterLimits, State
from tests.core.host import Host, task


def cluster(max_pending: int = 3, user_max_pending: int = 2) -> Host:
    return Host(gpus=0, cluster=ClusterLimits(max_pending, user_max_pending))


def handed_over(host: Host) -> list[str]:
    """By the last event, in order."""
    return [e.task.id for e in host.last.effects if isinstance(e, RunAttempt)]


def test_task_is_handed_over_at_once_and_shown_as_queued() -> None:
    host = cluster()
    assert host.submit(task("a", gpu=100)) == []
    assert handed_over(host) == ["a"]
    assert host.task("a").shown_status is Status.QUEUED
    assert isinstance(host.state.wait_state("a"), HandedOver)
    assert host.task("a").worker_id is None


def test_more_tasks_than_one_decision_takes_follow_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hand_over, "MOST_AT_ONCE", 2)
    host = cluster(max_pending=10, user_max_pending=10)
    host.submit(*(task(f"t{n}") for n in range(5)))
    found = [handed_over(host)]
    while host.last.next_due == host.now:
        host.do(TimePassed(host.now, host.now))
        found.append(handed_over(host))
    assert found == [["t0", "t1"], ["t2", "t3"], ["t4"]]


def test_task_runs_on_the_node_that_the_cluster_chose() -> None:
    host = cluster()
    host.submit(task("a"))
    host.do(Started(5, "a", 1, 4, "node7"))
    running = host.task("a")
    assert (running.shown_status, running.worker_id, running.allocated_at) == (
        Status.RUNNING,
        "node7",
        4,
    )
    assert not host.state.handed_over


def test_task_has_the_gpus_that_the_cluster_gave_it() -> None:
    host = cluster()
    host.submit(task("a", gpu=2), task("forged", gpu=1))
    host.do(Started(5, "a", 1, 4, "node7", ("node7:0", "node7:3")))
    assert host.task("a").gpu_uuids == ("node7:0", "node7:3")
    # The record of a node is a file that the task can write.
    host.do(Started(5, "forged", 1, 4, "node7", ("node7:1", "node7:2")))
    assert host.task("forged").gpu_uuids == ()
    restored = State.restore(host.state.limits, host.state.tasks.values())
    assert not restored.gpus.holders
    host.do(Ended(6, "a", 1, AttemptEnd(at=6, started_at=5, code=0)))
    assert host.task("a").gpu_uuids == ("node7:0", "node7:3")
    assert not any(isinstance(effect, CheckGpus) for effect in host.last.effects)


def test_limits_hold_back_the_rest_and_other_users_pass() -> None:
    host = cluster(max_pending=3, user_max_pending=2)
    host.submit(*(task(f"a{n}") for n in range(4)), task("b0", user="bob"), task("b1", user="bob"))
    assert handed_over(host) == ["a0", "a1", "b0"]
    host.do(Started(5, "a0", 1, 5))
    assert len(handed_over(host)) == 1
    assert "it gets no more at once" in host.reason("a3")


def test_start_and_end_between_two_looks_pass_through_running() -> None:
    host = cluster()
    host.submit(task("a"))
    end = AttemptEnd(at=9, started_at=8, code=0)
    host.do(Ended(9, "a", 1, end, "node1"))
    assert [each.status for each in host.last.changes] == [Status.RUNNING, Status.COLLECTING]
    assert host.task("a").worker_id == "node1"
    host.do(Collected(10, "a", 1))
    assert not host.state.tasks


def test_attempt_that_the_cluster_lost_before_its_start_is_retried_as_a_fault_of_the_host() -> None:
    host = cluster()
    host.submit(task("a"))
    host.do(Ended(9, "a", 1, AttemptEnd(at=9, lost="Slurm ended its job")))
    again = host.task("a")
    assert (again.status, again.infra_retries, again.retry_count) == (Status.QUEUED, 1, 0)
    host.now = again.not_before
    host.do(TimePassed(host.now, host.now))
    assert handed_over(host) == ["a"]
    assert host.task("a").attempt == 2


def test_refusal_for_good_fails_the_task() -> None:
    host = cluster()
    host.submit(task("a", max_retries=3))
    host.do(NeverStarted(2, "a", 1, "Slurm refuses it", permanent=True))
    [ended] = host.last.changes
    assert (ended.status, ended.failure_reason) == (Status.FAILED, FailureReason.PREPARE_FAILED)
    assert not host.state.handed_over


def test_image_that_is_nowhere_fails_the_task() -> None:
    host = cluster()
    host.submit(task("a", max_retries=3))
    host.do(Ended(9, "a", 1, AttemptEnd(at=9, lost="manifest unknown", no_image=True)))
    [ended] = host.last.changes
    assert (ended.status, ended.failure_reason) == (Status.FAILED, FailureReason.PREPARE_FAILED)
    assert ended.error == "manifest unknown"


def test_cancel_of_a_pending_task() -> None:
    host = cluster()
    host.submit(task("a"))
    host.do(CancelRequested(2, "a", User("alice")))
    assert isinstance(host.state.wait_state("a"), Discarding)
    host.do(NeverStarted(3, "a", 1))
    [ended] = host.last.changes
    assert ended.failure_reason is FailureReason.CANCELLED
    assert not host.state.handed_over


def test_pending_tasks_count_as_waiting_ones_of_their_user() -> None:
    host = Host(gpus=0, cluster=ClusterLimits(10, 10), user_queued=3)
    host.submit(task("a"), task("b"))
    assert submit_quotas.queue_fault(host.state, "alice", [0] * 1) is None
    assert submit_quotas.queue_fault(host.state, "alice", [0] * 2) is not None


def test_random_lives_keep_the_limits() -> None:
    dice = random.Random(7)
    host = cluster(max_pending=5, user_max_pending=3)
    numbers = iter(range(10_000))
    for _ in range(300):
        host.now += 1
        state = host.state
        pending, running = list(state.handed_over), list(state.held)
        match dice.randrange(6):
            case 0 | 1:
                user = dice.choice(("alice", "bob", "eve"))
                new = [
                    task(f"t{next(numbers)}", dice.randrange(3), user=user, at=host.now)
                    for _ in range(dice.randrange(1, 4))
                ]
                host.do(Submitted(host.now, new))
            case 2 if pending:
                chosen = host.task(dice.choice(pending))
                host.do(Started(host.now, chosen.id, chosen.attempt, host.now, "n"))
            case 3 if running:
                chosen = host.task(dice.choice(running))
                host.do(Ended(host.now, chosen.id, chosen.attempt, AttemptEnd(at=host.now, code=0)))
                host.do(Collected(host.now, chosen.id, chosen.attempt))
            case 4 if state.tasks:
                chosen = dice.choice(list(state.tasks.values()))
                host.do(CancelRequested(host.now, chosen.id, User("alice")))
                if chosen.id in state.handed_over:
                    host.do(NeverStarted(host.now, chosen.id, chosen.attempt))
            case 5 if pending:
                chosen = host.task(dice.choice(pending))
                lost = AttemptEnd(at=host.now, lost="lost")
                host.do(Ended(host.now, chosen.id, chosen.attempt, lost))
        assert len(state.handed_over) <= 5
        assert all(number <= 3 for number in state.user_handed_over.values())
        assert sum(state.user_handed_over.values()) == len(state.handed_over)
        if len(state.handed_over) < 5:
            ready = {queue.user for queue in state.queue.sub_queues()}
            assert all(state.user_handed_over.get(user, 0) == 3 for user in ready)
