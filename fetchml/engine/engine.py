"""What both transports call: one service for each subject.

Every service checks the caller's permissions, lets the core decide, and raises
`errors.RequestError`. All of them are used from one event loop.
"""

from dataclasses import dataclass

from fetchml.engine.comparison import TaskComparison
from fetchml.engine.logs import TaskLogs
from fetchml.engine.outputs import TaskOutputs
from fetchml.engine.server_information import Diagnosis, ServerInformation
from fetchml.engine.status import ServerStatus
from fetchml.engine.submissions import Submissions
from fetchml.engine.sweeps import SweepRanking, Sweeps
from fetchml.engine.tasks.changes import TaskChanges
from fetchml.engine.tasks.reruns import Reruns
from fetchml.engine.tasks.results import ResultLists
from fetchml.engine.tasks.tasks import Tasks
from fetchml.engine.usage.history import UsageHistory
from fetchml.engine.watches.batches import Batches
from fetchml.engine.watches.watch import Watches
from fetchml.notifications.notification_service import Notifications


@dataclass(frozen=True, slots=True)
class Engine:
    submissions: Submissions
    tasks: Tasks
    changes: TaskChanges
    watches: Watches
    batches: Batches
    logs: TaskLogs
    outputs: TaskOutputs
    results: ResultLists
    comparison: TaskComparison
    reruns: Reruns
    sweeps: Sweeps
    ranking: SweepRanking
    notifications: Notifications
    usage: UsageHistory
    status: ServerStatus
    information: ServerInformation
    diagnosis: Diagnosis
