"""Entries of the audit log: caller, action, target, address, time and outcome."""

from enum import StrEnum

from fetchml.core.model import Value


class Action(StrEnum):
    """Every operation that changes something, and refused access."""

    TASK_CREATE = "task.create"
    TASK_CANCEL = "task.cancel"
    TASK_DELETE = "task.delete"
    TASK_UPDATE = "task.update"
    TASK_RETRY = "task.retry"
    TASK_EXEC = "task.exec"
    TASK_EXEC_END = "task.exec_end"
    TASK_PORT = "task.port"
    TASK_PORT_END = "task.port_end"
    TASK_INTERRUPT = "task.interrupt"
    TASK_DECLARE_LOST = "task.declare_lost"
    SWEEP_CREATE = "sweep.create"
    SWEEP_CANCEL = "sweep.cancel"
    SWEEP_RETRY = "sweep.retry"
    EXPERIMENT_CREATE = "experiment.create"
    EXPERIMENT_UPDATE = "experiment.update"
    EXPERIMENT_ARCHIVE = "experiment.archive"
    EXPERIMENT_DELETE = "experiment.delete"
    RUN_DELETE = "run.delete"
    RUN_RESTORE = "run.restore"
    KEY_CREATE = "key.create"
    KEY_REVOKE = "key.revoke"
    SECRET_SET = "secret.set"  # noqa: S105 - the name of an action
    SECRET_DELETE = "secret.delete"  # noqa: S105 - likewise
    SNAPSHOT_UPLOAD = "snapshot.upload"
    SNAPSHOT_DELETE = "snapshot.delete"
    ENVIRONMENT_DELETE = "environment.delete"
    JUPYTER_START = "jupyter.start"
    JUPYTER_STOP = "jupyter.stop"
    GPU_DRAIN = "gpu.drain"
    GPU_UNDRAIN = "gpu.undrain"
    BOOKING_CREATE = "booking.create"
    BOOKING_DELETE = "booking.delete"
    STORAGE_PRUNE = "storage.prune"
    NOTIFICATION_RETRY = "notification.retry"
    NOTIFICATION_SETTINGS = "notification.settings"
    NOTIFICATION_SECRETS = "notification.secrets"
    NOTIFICATION_TEST = "notification.test"
    SIGN_IN_CODE = "session.code"
    SIGN_IN = "session.create"
    SIGN_OUT = "session.delete"
    ACCESS_REFUSED = "access.refused"


SECURITY = frozenset(
    {
        Action.TASK_DECLARE_LOST,
        Action.KEY_CREATE,
        Action.KEY_REVOKE,
        Action.GPU_DRAIN,
        Action.GPU_UNDRAIN,
        Action.BOOKING_CREATE,
        Action.BOOKING_DELETE,
        Action.STORAGE_PRUNE,
    }
)
"""Actions of admins only. Some entries of the audit log are reserved for these."""
SECURITY_PART = 4
"""One in SECURITY_PART of the kept entries is reserved for SECURITY actions."""
OK = "OK"
"""The outcome of a success; that of a failure is the error's code."""


class AuditEntry(Value, frozen=True):
    id: str
    """A UUIDv7, so that entries sort by time; of a `task.create`, the task's own id."""
    at: int
    """Milliseconds since the epoch (UTC)."""
    action: Action
    address: str
    """IP address of the client; empty if not known."""
    outcome: str = OK
    target: str | None = None
    """Id of the resource; `None` if there is none."""
    user: str | None = None
    """`None` if the request had no valid key."""
    key_id: str | None = None
    detail: str | None = None
