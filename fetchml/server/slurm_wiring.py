"""Makes the launcher for a Slurm cluster by the settings."""

import os
import pwd

from fetchml.adapters.slurm.cli import CliTransport
from fetchml.adapters.slurm.launcher import SlurmLauncher, SlurmOptions
from fetchml.adapters.slurm.rest import RestTransport
from fetchml.adapters.slurm.token import Tokens
from fetchml.adapters.slurm.transport import SlurmTransport
from fetchml.config.sections.slurm import SlurmSettings
from fetchml.config.settings import Settings
from fetchml.files.shared_folders import SharedFolders
from fetchml.server.cannot_start import CannotStart
from fetchml.server.cluster_wiring import tasks_folder


def slurm_launcher(settings: Settings, watch: SharedFolders) -> SlurmLauncher:
    """Raises CannotStart."""
    slurm = settings.slurm
    if os.geteuid() == 0 and not slurm.allow_root:
        raise CannotStart(
            "A server of root would run every task as root on the nodes: start it as an account "
            "that exists on the nodes too, or set [slurm] allow_root"
        )
    options = SlurmOptions(
        shared_dir=tasks_folder(settings),
        partition=slurm.partition,
        account=slurm.account,
        qos=slurm.qos,
        constraint=slurm.constraint,
        lost_after_seconds=slurm.lost_after,
    )
    return SlurmLauncher(options, transport_of(slurm), watch, (os.geteuid(), os.getegid()))


def transport_of(slurm: SlurmSettings) -> SlurmTransport:
    """Raises CannotStart."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    if slurm.transport == "cli":
        return CliTransport(user)
    if (slurm.token_file is None) == (slurm.jwt_key is None):
        raise CannotStart("[slurm] transport is rest: set one of [slurm] token_file and jwt_key")
    return RestTransport(slurm.url, user, Tokens(user, slurm.token_file, slurm.jwt_key))
