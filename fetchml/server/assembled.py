"""The objects of one server."""

from dataclasses import dataclass

from fetchml.access.service import TaskAccess
from fetchml.attempts.manager import AttemptManager
from fetchml.auth.audit import Audit
from fetchml.core.state import State
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.ended_tasks import EndedTasks
from fetchml.engine.engine import Engine
from fetchml.engine.engine_lifecycle import EngineLifecycle
from fetchml.engine.estimates import Estimates
from fetchml.engine.experiments import Experiments
from fetchml.engine.feed import Feed
from fetchml.engine.gpus.activity import GpuActivity
from fetchml.engine.gpus.gpus import Gpus
from fetchml.engine.service_tasks import ServiceTasks
from fetchml.engine.task_index import TaskIndex
from fetchml.engine.usage.sampler import UsageSampler
from fetchml.environments.environment_service import Environments
from fetchml.files.storage_usage import MonitoredTasks, StorageUsage
from fetchml.files.volume_usage import VolumeUsage
from fetchml.history.history_service import History
from fetchml.history.whatif_service import WhatIfs
from fetchml.jupyter.jupyter_service import JupyterServices
from fetchml.notifications.sender import Sender
from fetchml.ports.store import Store
from fetchml.server.tracking_wiring import TrackingParts
from fetchml.snapshots.snapshot_service import Snapshots
from fetchml.system.clock import Clock
from fetchml.system.ids import IdSequence
from fetchml.tracking.tracking_service import Tracking
from fetchml.user_secrets.secret_service import UserSecrets


@dataclass(frozen=True, slots=True)
class Assembly:
    clock: Clock
    ids: IdSequence
    store: Store
    state: State
    index: TaskIndex
    feed: Feed
    dispatcher: Dispatcher
    audit: Audit
    usage: StorageUsage
    volumes: VolumeUsage
    estimates: Estimates
    experiments: Experiments
    snapshots: Snapshots
    environments: Environments
    secrets: UserSecrets
    ended: EndedTasks
    gpus: Gpus
    services: ServiceTasks
    jupyter: JupyterServices
    attempts: AttemptManager
    lifecycle: EngineLifecycle
    engine: Engine
    access: TaskAccess
    sampler: UsageSampler
    activity: GpuActivity
    sender: Sender
    watched: MonitoredTasks
    tracked: TrackingParts
    history: History
    what_ifs: WhatIfs

    @property
    def tracking(self) -> Tracking:
        return self.tracked.runs
