"""What the audit keeps: who did what, to which id, from where, when, and how it went."""

from enum import StrEnum

from fetchml.core.model import Value


class Action(StrEnum):
    """Every verb that changes something, and the access that was refused."""

    TASK_CREATE = "task.create"
    TASK_CANCEL = "task.cancel"
    TASK_DELETE = "task.delete"
    EXPERIMENT_CREATE = "experiment.create"
    EXPERIMENT_ARCHIVE = "experiment.archive"
    EXPERIMENT_DELETE = "experiment.delete"
    KEY_CREATE = "key.create"
    KEY_REVOKE = "key.revoke"
    SNAPSHOT_UPLOAD = "snapshot.upload"
    SNAPSHOT_DELETE = "snapshot.delete"
    JUPYTER_START = "jupyter.start"
    JUPYTER_STOP = "jupyter.stop"
    GPU_DRAIN = "gpu.drain"
    GPU_UNDRAIN = "gpu.undrain"
    STORAGE_PRUNE = "storage.prune"
    ACCESS_REFUSED = "access.refused"


SECURITY = frozenset(
    {
        Action.KEY_CREATE,
        Action.KEY_REVOKE,
        Action.GPU_DRAIN,
        Action.GPU_UNDRAIN,
        Action.STORAGE_PRUNE,
    }
)
"""What only admins do. A part of the audit is kept for these, whatever else is entered."""
SECURITY_PART = 4
"""At least one in so many of the entries that are kept may be of these."""
OK = "OK"
"""The outcome of what was done; else it is the code of the error."""


class AuditEntry(Value, frozen=True):
    id: str
    """A UUIDv7, so that entries are in order. Of a `task.create`: the task's own id."""
    at: int
    """Milliseconds since the epoch (UTC)."""
    action: Action
    address: str
    """Where the request came from; empty: not known."""
    outcome: str = OK
    target: str | None = None
    """Id of what it was done to."""
    user: str | None = None
    """None: no valid key."""
    key_id: str | None = None
    detail: str | None = None
