"""The parts of the server that its settings choose."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path

from fetchml.access.service import DEFAULT_ACCESS, AccessOptions
from fetchml.attempts.hosts import TaskHost, ThisHost
from fetchml.attempts.manager import AttemptSettings
from fetchml.core.notification_outbox import Channel
from fetchml.core.requests.submission import SubmissionRules
from fetchml.core.state import Limits
from fetchml.datasets.provider import DatasetProvider
from fetchml.engine.server_information import Examine, examine_nothing
from fetchml.files.folder_events import FolderEvents
from fetchml.files.task_users import FileOwners
from fetchml.history.whatif_service import LimitsWith
from fetchml.jupyter.jupyter_service import JupyterOptions
from fetchml.ports.gpu import GpuInventory
from fetchml.ports.launcher import Launcher
from fetchml.ports.notifier import Notifier
from fetchml.ports.store import Store, StoredState
from fetchml.server.environment_wiring import EnvironmentWiring
from fetchml.server.notification_wiring import NotificationOptions
from fetchml.snapshots.snapshot_service import SnapshotOptions


@dataclass(frozen=True, slots=True)
class Outside:
    """The store and the adapters of the server, chosen by its settings."""

    store: Store
    """It is open."""
    restored: StoredState
    """The content of the store when it was opened."""
    launcher: Launcher
    inventory: GpuInventory | None
    """`None`: plain slots."""
    datasets: DatasetProvider
    owners: FileOwners
    folder_watch: FolderEvents
    host: TaskHost = field(default_factory=ThisHost)
    environments: EnvironmentWiring = EnvironmentWiring()  # noqa: RUF009 - immutable
    notifiers: Mapping[Channel, Notifier] = field(default_factory=dict[Channel, Notifier])
    """Senders of messages, by channel."""


@dataclass(frozen=True, slots=True)
class Options:
    data_dir: Path
    tasks_dir: Path
    """Where the files of tasks are: the data directory, or a cluster's shared folder."""
    limits: Limits
    limits_with: LimitsWith
    rules: SubmissionRules
    runs: AttemptSettings
    snapshots: SnapshotOptions
    jupyter: JupyterOptions
    workspaces: Path
    """Where those of Jupyter services are."""
    private: bool
    """Users see only their own tasks and files."""
    zone: tzinfo
    """In which a day begins and ends."""
    user_storage_bytes: int
    """Limit of one user's files; 0: no limit."""
    samples: bool = True
    """The use of tasks and GPUs is sampled."""
    access: AccessOptions = DEFAULT_ACCESS
    notifications: NotificationOptions = NotificationOptions()  # noqa: RUF009 - immutable
    task_url: str | None = None
    """The server's URL for tasks, without a final slash; `None` if they do not log to it."""
    reads_metrics: bool = True
    """Metrics in the outputs of tasks are read."""
    examine: Examine = examine_nothing
    """The checks of `fetchml doctor`."""
