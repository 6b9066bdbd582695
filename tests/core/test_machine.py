"""A Hypothesis state machine drives the core as a hostile world would, checking every step."""

from dataclasses import dataclass

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from fetchml.core import transitions
from fetchml.core.events import (
    CancelAsked,
    Collected,
    Decision,
    Ended,
    Event,
    LauncherChanged,
    NeverStarted,
    Progressed,
    Recovered,
    RunAttempt,
    Started,
    StopAttempt,
    Submitted,
    TimePassed,
)
from fetchml.core.model import (
    ENDED,
    HOLDING,
    AttemptEnd,
    FailureReason,
    Resources,
    Status,
    Task,
    TaskSpec,
)
from fetchml.core.reactor import step
from fetchml.core.state import Limits, State

LIMITS = Limits(Resources(4, 16, 2), max_running=3, reserve_after_ms=60_000, worker_id="box")


@dataclass(frozen=True)
class Attempt:
    task_id: str
    number: int


specs = st.builds(
    TaskSpec,
    job_name=st.just("job"),
    image=st.just("image"),
    command=st.just(("run",)),
    priority=st.integers(1, 10),
    cpu=st.one_of(st.none(), st.integers(0, 4)),
    memory_gb=st.one_of(st.none(), st.integers(0, 16)),
    gpu=st.one_of(st.none(), st.integers(0, 2)),
    max_retries=st.integers(0, 3),
)
ends = st.one_of(
    st.builds(lambda code: {"code": code}, st.integers(0, 3)),
    st.builds(lambda signal: {"signal": signal}, st.sampled_from([6, 9, 15])),
    st.just({"signal": 9, "out_of_memory": True}),
    st.just({"signal": 9, "timed_out": True}),
    st.just({"code": 0, "stopped": True}),
    st.just({"code": 127, "start_error": "not found"}),
    st.just({"lost": "the machine was restarted"}),
)


class CoreMachine(RuleBasedStateMachine):
    attempts = Bundle("attempts")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000
        self.state = State(LIMITS)
        self.number = 0
        self.seen: dict[str, Task] = {}
        self.begun: set[Attempt] = set()
        self.stopped: set[str] = set()

    def apply(self, event: Event) -> list[Attempt]:
        decision = step(self.state, event)
        self.state.check()
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
                assert task.status in transitions.ALLOWED[before.status]
                if task.status is Status.QUEUED:
                    assert task.retry_count == before.retry_count + 1 <= task.spec.max_retries
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

    @rule(target=attempts, chosen=st.lists(specs, min_size=1, max_size=4))
    def submit(self, chosen: list[TaskSpec]) -> object:
        tasks = []
        for spec in chosen:
            self.number += 1
            tasks.append(Task(f"t{self.number:05}", "alice", spec, self.now))
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

    @rule(target=attempts, data=st.data())
    def cancel(self, data: st.DataObject) -> object:
        if not self.seen:
            return multiple()
        task_id = data.draw(st.sampled_from(sorted(self.seen)))
        before = self.seen[task_id]
        begun = self.begin(CancelAsked(self.now, task_id, "alice"))
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
    def started(self, attempt: Attempt) -> None:
        event = Started(self.now, attempt.task_id, attempt.number, self.now)
        assert not self.apply(event)

    @rule(target=attempts, attempt=consumes(attempts), permanent=st.booleans())
    def never_started(self, attempt: Attempt, permanent: bool) -> object:
        """Told only of an attempt that has not started; told late, it must mean nothing."""
        event = NeverStarted(self.now, attempt.task_id, attempt.number, "no image", permanent)
        task = self.seen[attempt.task_id]
        begun = self.begin(event)
        return multiple(*begun, *([attempt] if task.status is not Status.PREPARING else []))

    @rule(target=attempts, attempt=attempts, end=ends, ran=st.booleans())
    def ended(self, attempt: Attempt, end: dict[str, object], ran: bool) -> object:
        started_at = self.now if ran else None
        how = AttemptEnd(at=self.now, started_at=started_at, **end)  # type: ignore[arg-type]
        event = Ended(self.now, attempt.task_id, attempt.number, how)
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

    @rule()
    def restart(self) -> None:
        """A new server knows what the watchers knew, and takes up exactly what was under way."""
        live = [task for task in self.seen.values() if task.status not in ENDED]
        held = {Attempt(task.id, task.attempt) for task in live if task.status in HOLDING}
        self.state = State.restore(LIMITS, live)
        self.stopped.clear()
        assert set(self.apply(Recovered(self.now))) == held
        assert self.stopped == {task.id for task in live if task.cancel is not None}

    @invariant()
    def nothing_idles(self) -> None:
        """Work conserving: what fits and may start has started (reservations aside)."""
        state = self.state
        if not state.launcher_available or state.draining or state.free_slots <= 0:
            return
        kept: set[str] = set()
        for turn, shape in state.waiting.heads():
            asked = {name for name in ("cpu", "memory_gb", "gpu") if getattr(shape, name)}
            fits = all(getattr(shape, name) <= getattr(state.free, name) for name in asked)
            assert not fits or asked & kept, f"{turn} could run"
            if self.now - turn.ready_at >= LIMITS.reserve_after_ms:
                kept |= asked


TestCore = CoreMachine.TestCase
TestCore.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
