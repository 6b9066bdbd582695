"""Options of the launcher, as the server's owner chose them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fetchml.adapters.slurm.accounts.account import Accounts
from fetchml.adapters.slurm.containers import Containers
from fetchml.adapters.slurm.job_parameters import Parameters
from fetchml.shim.node_relay import ALL_PORTS


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    shared_dir: Path
    parameters: Parameters = field(default_factory=Parameters)
    lost_after_seconds: int = 0
    """Time after which a claimed attempt without a job in Slurm counts as lost; 0: never."""
    lease_seconds: int = 0
    """Time that a task runs on a node that does not reach the shared folder; 0: no limit."""
    accounts: Accounts = field(default_factory=Accounts)
    """As whom the jobs of users run."""
    containers: Containers | None = None
    """`None` if tasks are plain processes of the nodes."""
    entry_key: Callable[[], bytes] = lambda: bytes(32)
    """Reads the key from which those of the ways into tasks are derived; raises OSError."""
    relay_ports: str = ALL_PORTS
    """The ports of nodes for relays, as `LOWEST-HIGHEST`."""
