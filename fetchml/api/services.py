"""The services that REST and gRPC offer."""

from dataclasses import dataclass

from fetchml.access.service import TaskAccess
from fetchml.auth.admission import Admission
from fetchml.auth.audit import Audit
from fetchml.auth.keyring import KeyManager
from fetchml.engine.engine import Engine
from fetchml.engine.experiments import Experiments
from fetchml.engine.gpus.gpus import Gpus
from fetchml.engine.retention import Retention
from fetchml.environments.environment_service import CachedEnvironments
from fetchml.history.history_service import History
from fetchml.history.whatif_service import WhatIfs
from fetchml.jupyter.jupyter_service import JupyterServices
from fetchml.snapshots.snapshot_service import Snapshots
from fetchml.tracking.artifacts import Artifacts
from fetchml.tracking.live_tasks import LiveTasks
from fetchml.tracking.logged_models import LoggedModels
from fetchml.tracking.tracking_service import Tracking
from fetchml.user_secrets.secret_service import UserSecrets


@dataclass(frozen=True, slots=True)
class ApiServices:
    engine: Engine
    experiments: Experiments
    snapshots: Snapshots
    jupyter: JupyterServices
    gpus: Gpus
    admission: Admission
    keys: KeyManager
    audit: Audit
    access: TaskAccess
    secrets: UserSecrets
    environments: CachedEnvironments
    retention: Retention
    tracking: Tracking
    models: LoggedModels
    artifacts: Artifacts
    live_tasks: LiveTasks
    history: History
    what_ifs: WhatIfs
