"""The rules by which the server accepts or refuses a submit, in the order in which they
are applied."""

from collections.abc import Collection, Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple, cast

from fetchml.core import submit_quotas
from fetchml.core.model import DatasetSpec, Principal
from fetchml.core.permissions import may_submit
from fetchml.core.requests import submission
from fetchml.core.requests.checks import unknown_fields
from fetchml.core.requests.slurm import user_fault
from fetchml.core.state import State
from fetchml.core.storage import Kind, Used, quota_fault


class RefusalKind(Enum):
    FORBIDDEN = auto()
    """The user may never submit."""
    DRAINING = auto()
    DISK_FULL = auto()
    """Of the server's disk; the message is empty."""
    STORAGE = auto()
    """The user's files take too much of the disk."""
    QUOTA = auto()
    """The user has too many tasks, or too large ones."""
    QUEUE_FULL = auto()
    """All users together have too many tasks, or too large ones."""


class Refusal(NamedTuple):
    kind: RefusalKind
    message: str


def closed(state: State, *, disk_has_room: bool) -> Refusal | None:
    """Return why the server takes nothing new; `None` if it does."""
    if state.draining:
        message = "The server is shutting down: submit again when it is back"
        return Refusal(RefusalKind.DRAINING, message)
    return None if disk_has_room else Refusal(RefusalKind.DISK_FULL, "")


def refusal(
    state: State,
    who: Principal,
    count: int,
    *,
    disk_has_room: bool,
    used: Mapping[Kind, Used],
    allowed_bytes: int,
    slurm_users: Collection[str] | None,
) -> Refusal | None:
    """Return why the user may not submit `count` tasks of any kind now; `None` if they may. Called
    before the tasks are checked, which costs much more; `no_room` decides finally.

    `used`: what the user has on the disk. `allowed_bytes`: what they may have; 0: any amount.
    `slurm_users`: see SubmissionRules.
    """
    if not may_submit(who):
        return Refusal(RefusalKind.FORBIDDEN, "Viewers cannot submit tasks")
    if slurm_users is not None and (fault := user_fault(who.user, slurm_users)):
        return Refusal(RefusalKind.FORBIDDEN, fault)
    if (reason := closed(state, disk_has_room=disk_has_room)) is not None:
        return reason
    if used and allowed_bytes and (fault := quota_fault(used, allowed_bytes)):
        return Refusal(RefusalKind.STORAGE, fault)
    if fault := submit_quotas.count_fault(state, who.user, count):
        return Refusal(RefusalKind.QUOTA, fault)
    return None


def ignored_fields(request: Mapping[str, object]) -> list[str]:
    """Return the names of a valid request's unknown properties (reading 12)."""
    ignored = unknown_fields(request, submission.KNOWN_FIELDS)
    if specs := request.get("dataset_specs"):
        for index, spec in enumerate(cast("Sequence[Mapping[str, object]]", specs)):
            unknown = unknown_fields(spec, frozenset(DatasetSpec.__struct_fields__))
            ignored += [f"dataset_specs[{index}].{name}" for name in unknown]
    return ignored


def no_room(state: State, user: str, footprints: Sequence[int]) -> Refusal | None:
    """Return why tasks of these footprints (bytes) can't join the queue; `None` if they can."""
    if fault := submit_quotas.queue_fault(state, user, footprints):
        return Refusal(RefusalKind.QUOTA, fault)
    if submit_quotas.is_full(state, footprints):
        message = "Queue limit reached: submit again when tasks have ended"
        return Refusal(RefusalKind.QUEUE_FULL, message)
    return None
