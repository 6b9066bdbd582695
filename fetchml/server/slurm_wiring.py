"""Makes the launcher for a Slurm cluster by the settings."""

import os
import pwd
import shutil
from functools import partial

from fetchml.adapters.node_relays.connector import HIGHEST_PORT, LOWEST_PORT
from fetchml.adapters.slurm.commands import CliTransport, SshHost
from fetchml.adapters.slurm.containers import Containers
from fetchml.adapters.slurm.job_requests import Parameters
from fetchml.adapters.slurm.launcher import SlurmLauncher, SlurmOptions
from fetchml.adapters.slurm.rest import RestTransport
from fetchml.adapters.slurm.tokens import Tokens
from fetchml.adapters.slurm.transport import CALL_SECONDS, SlurmTransport
from fetchml.config.settings import Settings, SlurmSettings
from fetchml.core.requests import slurm as rules
from fetchml.core.requests.submission import field_fault
from fetchml.files import own_file
from fetchml.files.layout import JUPYTER_KEY
from fetchml.files.shared_disk import SharedFolders
from fetchml.server.cannot_start import CannotStart
from fetchml.server.cluster_wiring import tasks_folder
from fetchml.server.slurm_accounts import accounts_of, parameters_of, run_as_of, tokens_of
from fetchml.shim.node_relay import ALL_PORTS


def slurm_launcher(settings: Settings, watch: SharedFolders) -> SlurmLauncher:
    """Raises CannotStart."""
    slurm = settings.slurm
    accounts = accounts_of(slurm)
    if os.geteuid() == 0 and not (slurm.allow_root or accounts.refuses_others):
        raise CannotStart(
            "As root, the server would run tasks as root on the nodes: start it as an account that "
            "exists on the nodes too, give all users accounts ([slurm.users], [slurm] unmapped = "
            '"refuse"), or set [slurm] allow_root'
        )
    require_possible(slurm.relay_ports)
    owner = (os.geteuid(), os.getegid())
    options = SlurmOptions(
        shared_dir=tasks_folder(settings),
        parameters=_parameters(slurm),
        accounts=accounts,
        lost_after_seconds=slurm.lost_after,
        lease_seconds=slurm.lease_seconds,
        containers=None
        if slurm.container == "none"
        else Containers(slurm.container, owner, settings.tasks.shm_mb),
        entry_key=partial(own_file.load_key, settings.data_dir / JUPYTER_KEY),
        relay_ports=slurm.relay_ports,
    )
    return SlurmLauncher(options, transport_of(slurm), watch, owner)


def require_possible(relay_ports: str) -> None:
    """Raises CannotStart if no relay can listen on these ports."""
    lowest, highest = map(int, relay_ports.split("-"))
    if relay_ports != ALL_PORTS and not LOWEST_PORT <= lowest <= highest <= HIGHEST_PORT:
        raise CannotStart(
            f"[slurm] relay_ports is {relay_ports}: give a range between {LOWEST_PORT} and "
            f"{HIGHEST_PORT}, as 40000-40999"
        )


def _parameters(slurm: SlurmSettings) -> Parameters:
    """Raises CannotStart."""
    names = ("partition", "account", "qos", "constraint", "reservation")
    of_all = {name: value for name in names if (value := getattr(slurm, name))}
    of_users = parameters_of(slurm)
    for where, parameters in (
        ("", of_all),
        *((f"users.{user}", p) for user, p in of_users.items()),
    ):
        if (fault := field_fault("slurm", dict(parameters))) is not None:
            raise CannotStart(f"[slurm{where and '.' + where}] {fault}")
    for entry in slurm.allow:
        if entry.partition("=")[0] not in rules.NAMES:
            raise CannotStart(
                f"[slurm] allow: unknown parameter {entry}; expected one of "
                f"{', '.join(rules.NAMES)}"
            )
    return Parameters(of_all, of_users)


def transport_of(slurm: SlurmSettings) -> SlurmTransport:
    """Raises CannotStart."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    # The script is `srun` there, which kills its step at once on SIGTERM.
    signals_steps = slurm.container == "pyxis"
    if slurm.transport == "cli":
        host = SshHost(slurm.ssh, CALL_SECONDS) if slurm.ssh else None
        others = run_as_of(slurm)
        return CliTransport(user, host, signals_steps=signals_steps, others=others)
    if (slurm.token_file is None) == (slurm.jwt_key is None):
        raise CannotStart("[slurm] transport is rest: set one of [slurm] token_file and jwt_key")
    tokens = Tokens(user, slurm.token_file, slurm.jwt_key)
    commands = CliTransport(user) if shutil.which("squeue") else None
    return RestTransport(
        slurm.url,
        user,
        tokens,
        commands,
        signals_steps=signals_steps,
        others=tokens_of(slurm),
    )
