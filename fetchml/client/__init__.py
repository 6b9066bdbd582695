"""A client of a FetchML server.

    from fetchml.client import Client

    with Client("127.0.0.1:9102", key="fml_…") as client:
        task = client.submit("mnist", command=["python", "train.py"], gpu=1)
        for chunk in client.logs(task.id, follow=True):
            print(chunk.data.decode(errors="replace"), end="")
        task = client.wait(task.id)

`AsyncClient` has the same methods, for asyncio. Replies are the API's messages, which
proto/fetchml/v1 describes. docs/clients.md documents both, and clients in other languages.
"""

from fetchml.client.access import ExecResult
from fetchml.client.aio.client import AsyncClient
from fetchml.client.arguments import JupyterFields, ListWhere, SweepFields, TaskFields, Where
from fetchml.client.errors import (
    BadFolder,
    BadKey,
    BadRequest,
    CallError,
    Conflict,
    DeadlineExceeded,
    FieldViolation,
    Forbidden,
    InternalError,
    NotFound,
    RateLimited,
    SetupError,
    Unauthorized,
    Unavailable,
    Unreachable,
    ValidationFailed,
)
from fetchml.client.messages import ended, enum_name, enum_names, status_name, to_json
from fetchml.client.rpc import Options, Rpc
from fetchml.client.sync.client import Client
from fetchml.v1.experiment_pb2 import Experiment
from fetchml.v1.gpu_pb2 import Gpu, GpuList, Node
from fetchml.v1.jupyter_pb2 import JupyterServiceInfo
from fetchml.v1.notification_pb2 import Notification, NotificationSettings, WebhookSecret
from fetchml.v1.queue_pb2 import QueueStats
from fetchml.v1.reproduce_pb2 import TaskDiff
from fetchml.v1.snapshot_pb2 import Snapshot
from fetchml.v1.sweep_pb2 import Sweep, SweepParameter
from fetchml.v1.task_pb2 import (
    CreateTaskRequest,
    DatasetSpec,
    Dependency,
    Environment,
    NotifyTarget,
    Task,
    TaskExplanation,
    TaskInterruption,
    TaskList,
    TaskLogChunk,
    TaskOutput,
    WatchTasksResponse,
)
from fetchml.v1.usage_pb2 import GpuHistory, GpuHoursList, TaskUsage

__all__ = [
    "AsyncClient",
    "BadFolder",
    "BadKey",
    "BadRequest",
    "CallError",
    "Client",
    "Conflict",
    "CreateTaskRequest",
    "DatasetSpec",
    "DeadlineExceeded",
    "Dependency",
    "Environment",
    "ExecResult",
    "Experiment",
    "FieldViolation",
    "Forbidden",
    "Gpu",
    "GpuHistory",
    "GpuHoursList",
    "GpuList",
    "InternalError",
    "JupyterFields",
    "JupyterServiceInfo",
    "ListWhere",
    "Node",
    "NotFound",
    "Notification",
    "NotificationSettings",
    "NotifyTarget",
    "Options",
    "QueueStats",
    "RateLimited",
    "Rpc",
    "SetupError",
    "Snapshot",
    "Sweep",
    "SweepFields",
    "SweepParameter",
    "Task",
    "TaskDiff",
    "TaskExplanation",
    "TaskFields",
    "TaskInterruption",
    "TaskList",
    "TaskLogChunk",
    "TaskOutput",
    "TaskUsage",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
    "ValidationFailed",
    "WatchTasksResponse",
    "WebhookSecret",
    "Where",
    "ended",
    "enum_name",
    "enum_names",
    "status_name",
    "to_json",
]
