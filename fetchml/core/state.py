"""What the core knows: live tasks, who holds what, who waits. Memory for live tasks only."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fetchml.core.model import ENDED, HOLDING, Resources, Status, Task
from fetchml.core.ready import ReadyQueue


@dataclass(slots=True, frozen=True)
class Limits:
    """What the box has, and the owner's rules."""

    capacity: Resources
    max_running: int
    """Tasks that may hold a slot at the same time."""
    reserve_after_ms: int
    """A blocked task that has waited so long is passed by nobody any more."""
    worker_id: str


@dataclass(slots=True)
class State:
    limits: Limits
    tasks: dict[str, Task] = field(default_factory=dict)
    """Live tasks by id."""
    waiting: ReadyQueue = field(default_factory=ReadyQueue)
    held: dict[str, Resources] = field(default_factory=dict)
    """What each task in preparing, running or collecting holds, beside its slot."""
    used: Resources = field(default_factory=Resources)
    """The sum of `held`."""
    launcher_available: bool = False
    draining: bool = False

    @classmethod
    def restore(cls, limits: Limits, live: Iterable[Task]) -> "State":
        """The state that a server had whose live tasks these are."""
        state = cls(limits)
        for task in live:
            state.tasks[task.id] = task
            if task.status in HOLDING:
                state.hold(task)
            else:
                state.waiting.add(task, now=0)
        return state

    def hold(self, task: Task) -> None:
        self.held[task.id] = task.spec.resources
        self.used = add(self.used, task.spec.resources)

    def release(self, task_id: str) -> None:
        self.used = subtract(self.used, self.held.pop(task_id))

    @property
    def free(self) -> Resources:
        """May be negative after a restart with less capacity than running tasks hold."""
        return subtract(self.limits.capacity, self.used)

    @property
    def free_slots(self) -> int:
        return self.limits.max_running - len(self.held)

    def check(self) -> None:
        """The invariants (tests call it after every step). Raises AssertionError."""
        held = sum_of(self.held.values())
        assert held == self.used, f"held {held}, booked {self.used}"
        for task in self.tasks.values():
            assert task.status not in ENDED, f"{task.id} has ended and is still here"
            assert (task.status in HOLDING) == (task.id in self.held), f"{task.id}: slot"
            assert (task.status is Status.QUEUED) == (task.id in self.waiting), f"{task.id}: queue"
            if task.cancel is not None:
                assert task.status is not Status.QUEUED, f"{task.id}: cancelled and queued"
        assert self.held.keys() <= self.tasks.keys(), "a slot is held by a task that is gone"
        assert len(self.waiting) + len(self.held) == len(self.tasks), "a task is nowhere"


def add(a: Resources, b: Resources) -> Resources:
    return Resources(a.cpu + b.cpu, a.memory_gb + b.memory_gb, a.gpu + b.gpu)


def subtract(a: Resources, b: Resources) -> Resources:
    return Resources(a.cpu - b.cpu, a.memory_gb - b.memory_gb, a.gpu - b.gpu)


def fits(wanted: Resources, free: Resources) -> bool:
    """What is not asked for need not be free."""
    return (
        (not wanted.cpu or wanted.cpu <= free.cpu)
        and (not wanted.memory_gb or wanted.memory_gb <= free.memory_gb)
        and (not wanted.gpu or wanted.gpu <= free.gpu)
    )


def asked_for(wanted: Resources) -> Iterator[str]:
    """Names of the resources that it can't do without."""
    for name in Resources.__struct_fields__:
        if getattr(wanted, name):
            yield name


def beyond(wanted: Resources, capacity: Resources) -> list[str]:
    """What can never be had, in words; empty: it can be."""
    return [
        f"asks for {getattr(wanted, name)} {name}, this box has {getattr(capacity, name)}"
        for name in asked_for(wanted)
        if getattr(wanted, name) > getattr(capacity, name)
    ]


def sum_of(parts: Iterable[Resources]) -> Resources:
    total = Resources()
    for part in parts:
        total = add(total, part)
    return total
