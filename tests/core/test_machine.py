"""A Hypothesis state machine drives the core as a hostile world would, checking every step."""

from dataclasses import dataclass

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from msgspec.structs import replace

from fetchml.core import lifecycle
from fetchml.core.events import (
    CancelRequested,
    CheckGpus,
    Collected,
    Decision,
    DiscardAttempt,
    Ended,
    Event,
    GpuChecked,
    GpuDrained,
    GpuFailed,
    GpusSeen,
    GpusUsed,
    InterruptRequested,
    LauncherChanged,
    LimitAttempt,
    NeverStarted,
    OpenGate,
    Prestaged,
    Progressed,
    Recovered,
    RunAttempt,
    Started,
    StopAttempt,
    Submitted,
    TimePassed,
)
from fetchml.core.gpus.allocator import Gpu, Obstacle, ObstacleKind, Utilisation
from fetchml.core.model import (
    ENDED,
    HOLDING,
    AttemptEnd,
    FailureReason,
    HaltCause,
    Status,
    Task,
    TaskSpec,
    User,
)
from fetchml.core.reactor import step
from fetchml.core.retry import MOST_INFRA_RETRIES
from fetchml.core.scheduling.scheduler import preemptors
from fetchml.core.scheduling.waiting import MAX_DISCARDS, Discarding
from fetchml.core.state import Limits, State
from tests.core.drawn import ends, limits, specs
from tests.core.oracle import could_start, failures_of
from tests.support import invariants

GPUS = tuple(Gpu(f"GPU-{position}", position=position) for position in range(3))


@dataclass(frozen=True)
class Attempt:
    task_id: str
    number: int


users = st.sampled_from(["alice", "bob"])
BUSY = Obstacle(ObstacleKind.BUSY, "python3")
LOST = Obstacle(ObstacleKind.LOST, "it has fallen off the bus")
gpu_faults = st.sampled_from([None, None, BUSY, LOST])


class CoreMachine(RuleBasedStateMachine):
    attempts = Bundle("attempts")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000
        self.number = 0
        self.seen: dict[str, Task] = {}
        self.preempted: set[tuple[str, int]] = set()
        """Ids and attempts of preempted tasks that were checked."""
        self.begun: set[Attempt] = set()
        self.stopped: set[str] = set()
        self.to_check: set[str] = set()

    @initialize(chosen=limits)
    def start(self, chosen: Limits) -> None:
        self.limits = chosen
        self.state = State(chosen)
        self.inventory = list(GPUS)
        self.apply(GpusSeen(self.now, self.inventory))
        self.apply(LauncherChanged(self.now, available=True))

    def apply(self, event: Event) -> list[Attempt]:
        decision = step(self.state, event)
        invariants.check(self.state)
        invariants.check_attempts_are_kept(self.state)
        self.follow(decision)
        return [
            Attempt(effect.task.id, effect.task.attempt)
            for effect in decision.effects
            if isinstance(effect, RunAttempt)
        ]

    def follow(self, decision: Decision) -> None:
        """What a watcher would see must go along the table, and end for good."""
        for task in decision.changes:
            before = self.seen.get(task.id)
            if before is None:
                assert task.status is Status.QUEUED
            elif before.status is not task.status:
                assert task.status in lifecycle.ALLOWED[before.status]
                if task.status is Status.QUEUED:
                    self.follow_again(before, task)
                if before.halt is not None and before.halt.cause is HaltCause.GPU:
                    assert task.status is not Status.COMPLETED, "done without its GPU"
            else:
                assert before.status not in ENDED, "a task changed after its end"
            if task.status in ENDED:
                assert task.ended_at is not None
                assert task.ended_at >= (task.started_at or task.created_at)
                assert (task.status is Status.FAILED) == (task.failure_reason is not None)
                if task.cancel is not None:
                    assert task.failure_reason is FailureReason.CANCELLED
                    assert task.error == "cancelled by alice"
            self.seen[task.id] = task
        for effect in decision.effects:
            match effect:
                case RunAttempt(task=task):
                    assert task.status in HOLDING
                case StopAttempt(task_id=task_id):
                    self.stopped.add(task_id)
                case LimitAttempt(task_id=task_id, timeout_seconds=seconds):
                    assert self.seen[task_id].status in HOLDING
                    assert self.seen[task_id].spec.timeout_seconds == seconds
                case OpenGate(task_id=task_id):
                    assert self.seen[task_id].status in HOLDING
                    assert not self.seen[task_id].prestaged
                case DiscardAttempt(task_id=task_id):
                    assert isinstance(self.state.wait_state(task_id), Discarding)
                case CheckGpus(uuids=uuids):
                    assert self.state.gpus.settling >= set(uuids)
                    self.to_check |= set(uuids)
        self.follow_gpus(decision)

    def follow_again(self, before: Task, task: Task) -> None:
        """Exactly one reason for which a task comes back to the queue."""
        counts = [
            task.retry_count - before.retry_count,
            task.infra_retries - before.infra_retries,
            task.preempted - before.preempted,
            int(before.prestaged and task.attempt == before.attempt and not before.cancel),
            int(before.halt is not None and before.halt.cause is HaltCause.INTERRUPTED),
        ]
        uncounted = max(counts[3:]) * (sum(counts[:3]) == 0)
        assert sum(counts[:3]) + uncounted == 1, counts
        assert min(counts) >= 0
        discards = task.discarded - before.discarded
        assert discards in (0, 1)
        assert discards == 0 or (before.prestaged and sum(counts[:3]) == 0)
        assert task.discarded <= MAX_DISCARDS
        assert task.retry_count <= task.spec.max_retries
        assert task.infra_retries <= MOST_INFRA_RETRIES

    def follow_gpus(self, decision: Decision) -> None:
        """What is given now can be given."""
        for effect in decision.effects:
            if isinstance(effect, RunAttempt | OpenGate):
                task_id = effect.task.id if isinstance(effect, RunAttempt) else effect.task_id
                task = self.state.tasks[task_id]
                if task.status is not Status.PREPARING or task.allocated_at != self.now:
                    continue
                assert len(task.gpu_uuids) == (task.spec.gpu or 0)
                for uuid in task.gpu_uuids:
                    if task.halt is None:
                        assert self.state.gpus.obstacle(uuid) is None, f"{uuid} was blocked"
                    assert uuid not in self.state.gpus.settling

    @rule(target=attempts, user=users, chosen=st.lists(specs, min_size=1, max_size=4))
    def submit(self, user: str, chosen: list[TaskSpec]) -> object:
        tasks = []
        for spec in chosen:
            self.number += 1
            tasks.append(Task(f"t{self.number:05}", user, spec, self.now))
        return multiple(*self.begin(Submitted(self.now, tasks)))

    def begin(self, event: Event) -> list[Attempt]:
        started = self.apply(event)
        for attempt in started:
            assert attempt not in self.begun, "an attempt was begun twice"
            self.begun.add(attempt)
        return started

    @rule(target=attempts, available=st.booleans())
    def launcher(self, available: bool) -> object:
        return multiple(*self.begin(LauncherChanged(self.now, available)))

    @rule(target=attempts, ms=st.integers(1, 400_000))
    def time_passes(self, ms: int) -> object:
        self.now += ms
        return multiple(*self.begin(TimePassed(self.now)))

    @rule(target=attempts, position=st.integers(0, 2), fault=gpu_faults)
    def gpu_changes(self, position: int, fault: Obstacle | None) -> object:
        gpu = replace(GPUS[position], blocked=fault)
        self.inventory[position] = gpu
        return multiple(*self.begin(GpusSeen(self.now, self.inventory)))

    @rule(target=attempts, position=st.integers(0, 2))
    def gpu_vanishes(self, position: int) -> object:
        """It is not in the inventory at all, until it is seen again."""
        rest = [gpu for gpu in self.inventory if gpu.position != position]
        begun = self.begin(GpusSeen(self.now, rest))
        if not self.limits.capacity.gpu:
            obstacle = self.state.gpus.obstacle(GPUS[position].uuid)
            assert obstacle is not None
            assert obstacle.kind is ObstacleKind.LOST
        return multiple(*begun)

    @rule(target=attempts, data=st.data(), fault=st.sampled_from([None, None, BUSY]))
    def gpu_checked(self, data: st.DataObject, fault: Obstacle | None) -> object:
        if not self.to_check:
            return multiple()
        uuid = data.draw(st.sampled_from(sorted(self.to_check)))
        self.to_check.discard(uuid)
        return multiple(*self.begin(GpuChecked(self.now, uuid, fault)))

    @rule(target=attempts, position=st.integers(0, 2), by=st.sampled_from([None, "root"]))
    def gpu_drained(self, position: int, by: str | None) -> object:
        return multiple(*self.begin(GpuDrained(self.now, GPUS[position].uuid, by)))

    @rule(target=attempts, ms=st.integers(1, 30_000), percent=st.sampled_from([0, 4, 50]))
    def gpus_used(self, ms: int, percent: int) -> object:
        self.now += ms
        uses = [Utilisation(gpu.uuid, percent) for gpu in GPUS]
        return multiple(*self.begin(GpusUsed(self.now, uses)))

    @rule(data=st.data())
    def interrupt(self, data: st.DataObject) -> None:
        if not self.seen:
            return
        task_id = data.draw(st.sampled_from(sorted(self.seen)))
        before = self.seen[task_id]
        self.apply(InterruptRequested(self.now, task_id, "alice"))
        if before.status is Status.RUNNING and before.cancel is None and before.halt is None:
            assert task_id in self.stopped
            assert self.seen[task_id].halt is not None

    @rule(target=attempts, data=st.data())
    def cancel(self, data: st.DataObject) -> object:
        if not self.seen:
            return multiple()
        task_id = data.draw(st.sampled_from(sorted(self.seen)))
        before = self.seen[task_id]
        begun = self.begin(CancelRequested(self.now, task_id, User("alice")))
        after = self.seen[task_id]
        if before.status is Status.QUEUED:
            assert after.status is Status.FAILED
        elif before.status in HOLDING:
            assert after.cancel is not None
            if before.status is not Status.COLLECTING:
                assert task_id in self.stopped
        else:
            assert after is before
        return multiple(*begun)

    @rule(attempt=attempts)
    def progressed(self, attempt: Attempt) -> None:
        assert not self.apply(Progressed(self.now, attempt.task_id, attempt.number, "pulling"))

    @rule(attempt=attempts)
    def ready(self, attempt: Attempt) -> None:
        assert not self.apply(Prestaged(self.now, attempt.task_id, attempt.number))

    @rule(attempt=attempts)
    def started(self, attempt: Attempt) -> None:
        event = Started(self.now, attempt.task_id, attempt.number, self.now)
        assert not self.apply(event)

    @rule(
        target=attempts,
        attempt=consumes(attempts),
        error=st.sampled_from([None, "no image"]),
        permanent=st.booleans(),
    )
    def never_started(self, attempt: Attempt, error: str | None, permanent: bool) -> object:
        """Reported only for an attempt that has not started; a late report must change nothing."""
        event = NeverStarted(self.now, attempt.task_id, attempt.number, error, permanent)
        task = self.seen[attempt.task_id]
        begun = self.begin(event)
        return multiple(*begun, *([attempt] if task.status is not Status.PREPARING else []))

    @rule(target=attempts, attempt=attempts, end=ends, ran=st.booleans())
    def ended(self, attempt: Attempt, end: dict[str, object], ran: bool) -> object:
        started_at = self.now if ran else None
        how = AttemptEnd(at=self.now, started_at=started_at, **end)  # type: ignore[arg-type]
        event = Ended(self.now, attempt.task_id, attempt.number, how)
        return multiple(*self.begin(event))

    @rule(target=attempts, attempt=attempts)
    def gpu_failed(self, attempt: Attempt) -> object:
        gpus = self.seen[attempt.task_id].gpu_uuids
        event = GpuFailed(self.now, attempt.task_id, attempt.number, gpus, "its GPU had an error")
        return multiple(*self.begin(event))

    @rule(target=attempts, attempt=consumes(attempts), failed=st.booleans())
    def collected(self, attempt: Attempt, failed: bool) -> object:
        event = Collected(
            self.now, attempt.task_id, attempt.number, "the disk is full" if failed else None
        )
        task = self.seen[attempt.task_id]
        return multiple(
            *self.begin(event), *([attempt] if task.status is not Status.COLLECTING else [])
        )

    @rule(target=attempts, data=st.data(), end=ends)
    def goes_well(self, data: st.DataObject, end: dict[str, object]) -> object:
        """One runs from start to end, and its GPUs are as they should be."""
        holding = sorted(self.state.held)
        if not holding:
            return multiple()
        task = self.state.tasks[data.draw(st.sampled_from(holding))]
        how = AttemptEnd(at=self.now, started_at=self.now, **end)  # type: ignore[arg-type]
        begun = [
            *self.begin(Started(self.now, task.id, task.attempt, self.now)),
            *self.begin(Ended(self.now, task.id, task.attempt, how)),
        ]
        for uuid in sorted(self.to_check):
            begun += self.begin(GpuChecked(self.now, uuid))
        self.to_check.clear()
        return multiple(*begun, *self.begin(Collected(self.now, task.id, task.attempt)))

    @rule(reads_gpus=st.booleans())
    def restart(self, reads_gpus: bool) -> None:
        """A new server knows what the watchers knew, and takes up exactly what was under way.
        It may read the GPUs much later."""
        live = [task for task in self.seen.values() if task.status not in ENDED]
        held = {Attempt(task.id, task.attempt) for task in live if task.status in HOLDING}
        outcomes = {task.id: task.status for task in self.seen.values() if task.status in ENDED}
        failures = failures_of(self.seen.values())
        self.state = State.restore(self.limits, live, self.state.shares.dump(), outcomes, failures)
        self.stopped.clear()
        self.to_check.clear()
        self.now += 1  # what goes on was given earlier
        assert set(self.apply(Recovered(self.now))) == held
        if reads_gpus:
            assert not self.apply(GpusSeen(self.now, self.inventory))
        asked = [task for task in self.seen.values() if task.status not in ENDED]
        expected = {task.id for task in asked if task.cancel is not None or task.halt is not None}
        assert self.stopped - {t.id for t in asked if t.status is Status.COLLECTING} == {
            task_id for task_id in expected if self.seen[task_id].status is not Status.COLLECTING
        }

    @invariant()
    def nothing_idles(self) -> None:
        """Work conserving: what fits and may start has started (backfill reservations aside)."""
        if hasattr(self, "state"):
            assert could_start(self.state, self.now) is None

    @invariant()
    def quota_of_running_tasks_holds(self) -> None:
        if hasattr(self, "state") and self.limits.user_running:
            for user in ("alice", "bob"):
                held = [t for t in self.state.held if self.state.tasks[t].user == user]
                assert len(held) <= self.limits.user_running, user

    @invariant()
    def quota_holds(self) -> None:
        if hasattr(self, "state") and self.limits.user_gpus:
            for user, held in self.state.user_gpus.items():
                assert held <= self.limits.user_gpus, user

    @invariant()
    def only_the_preemptible_make_way(self) -> None:
        if not hasattr(self, "state"):
            return
        for task_id in self.state.held:
            halt = self.state.tasks[task_id].halt
            if halt is not None and halt.cause is HaltCause.PREEMPTED:
                victim, winner = self.state.tasks[task_id], self.seen[str(halt.by)]
                if (pair := (victim.id, victim.attempt)) in self.preempted:
                    continue  # The winner's priority may have been lowered since.
                self.preempted.add(pair)
                assert victim.spec.preemptible
                assert victim.spec.priority < winner.spec.priority
        assert sum(preemptors(self.state).values()) <= len(self.state.held)


TestCore = CoreMachine.TestCase
TestCore.settings = settings(stateful_step_count=60)
