"""The names inside a data directory, and how one is recognized.

<data-dir>/
  lock                       held by the running server
  store/                     the database; see adapters/duckdb/database.py
  snapshots/ID/              uploaded trees
  datasets/                  fetched contents, by their SHA-256
  environments/              installed packages; see environments/cache.py
  history/                   files of queries that run
  jupyter/                   workspaces of Jupyter services
  shim/                      the shim, where the Docker engine can mount it from
  control.sock               the owner's access without a key
  control.address            the gRPC address of the same server
  gateway/http.sock          where containers reach the server; the folder is mounted into each
  admin.key                  the first key
  jupyter.key                secret from which the tokens of Jupyter services are derived, and the
                             keys of ways into attempts on nodes
  secrets.key                encrypts the values of users' secrets
  notifications.key          secret from which the secrets of webhooks are derived
  tracking.key               secret from which the tokens of tasks are derived
  tracking/                  files of runs and logged models; see tracking/artifacts.py
  tasks/ID/outputs/          what the task left in /outputs
  tasks/ID/checkpoint/       the task's /checkpoint, kept from attempt to attempt
  tasks/ID/attempts/N/       an attempt; see attempt_folder.py
"""

import os
from pathlib import Path

LOCK = "lock"
STORE = "store"
SNAPSHOTS = "snapshots"
DATASETS = "datasets"
ENVIRONMENTS = "environments"
HISTORY = "history"
JUPYTER = "jupyter"
SHIM = "shim"
NODE_RELAY, GPU_SAMPLER = "node_relay.py", "gpu_samples.py"
"""In the folder of the shim, on a cluster."""
CONTROL_SOCKET = "control.sock"
CONTROL_ADDRESS = "control.address"
GATEWAY, GATEWAY_SOCKET = "gateway", "http.sock"
ADMIN_KEY = "admin.key"
JUPYTER_KEY = "jupyter.key"
SECRETS_KEY = "secrets.key"
NOTIFICATIONS_KEY = "notifications.key"
TRACKING_KEY = "tracking.key"
TRACKING = "tracking"
TRACKING_DRAFTS = "new"
TASKS = "tasks"
ARRAYS = "arrays"
"""Next to the tasks in a cluster's shared folder: the attempts that were handed over together."""

# In the store's folder.
DATABASE = "fetchml.duckdb"
HEADER_COPY = "header.copy"

# In a task's folder.
ATTEMPTS = "attempts"
OUTPUTS = "outputs"
CHECKPOINT = "checkpoint"
CHECKPOINT_DRAFT = "checkpoint.new"

# In an attempt's folder; it has OUTPUTS too until they are collected, and DATASETS, TASK_INPUTS and
# VOLUMES, folders of links, and SECRETS, under launchers without containers.
RUN = "run"
CONTROL = "control"
WORKSPACE = "workspace"
TASK_INPUTS = "inputs"
VOLUMES = "volumes"
SECRETS = "secrets"
OPENED = "opened"
RAN_WITH = "ran_with.json"

_MARKS = (f"{STORE}/{DATABASE}", f"{STORE}/{HEADER_COPY}", ADMIN_KEY, CONTROL_SOCKET)
"""Only a data directory has one of these."""
_YOUNG = frozenset({LOCK, STORE, "lost+found"})
"""Files of a data directory whose server never finished its first start, or of a new disk."""


def may_become_data_dir(folder: Path) -> bool:
    """Return whether a folder is missing, empty, or a data directory already. Raises OSError."""
    if any(os.path.lexists(folder / mark) for mark in _MARKS):
        return True
    try:
        return {entry.name for entry in folder.iterdir()} <= _YOUNG
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False
