"""Settings of the connection to a Slurm cluster, and of the jobs."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fetchml.config.sections.types import AtLeastOne, Count, Text, about


class SlurmSettings(msgspec.Struct, frozen=True):
    """`[slurm]`"""

    transport: Annotated[
        Literal["rest", "cli"],
        about(
            "How to reach Slurm. `cli`: through its commands (`sbatch`, `squeue`, `scancel`, "
            "`scontrol`, `sinfo`). `rest`: through slurmrestd, which is faster."
        ),
    ] = "cli"
    ssh: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*\Z", max_length=255)] | None,
        about(
            "Host that runs Slurm's commands, as an argument of `ssh`, for the transport `cli`. "
            "OpenSSH must connect without a prompt.",
            default="none: this host",
        ),
    ] = None
    url: Annotated[
        Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+/?$")],
        about("URL of slurmrestd."),
    ] = "http://127.0.0.1:6820"
    token_file: Annotated[
        Path | None,
        about(
            "File with a slurmrestd token (JWT) for the server's user. The server reads it for "
            "each request, so another program can renew the token.",
            default="none",
        ),
    ] = None
    jwt_key: Annotated[
        Path | None,
        about(
            "File with Slurm's JWT key, with which the server signs tokens itself. Any account "
            "that can read it can act as every user of the cluster: prefer `token_file`.",
            default="none",
        ),
    ] = None
    shared_dir: Annotated[
        Path | None,
        about(
            "Directory for this server alone, at the same path on all nodes. It holds attempts, "
            "logs, outputs and fetched datasets. Required.",
            default="none",
        ),
    ] = None
    partition: Annotated[
        Text | None, about("Partition for jobs.", default="the cluster's default")
    ] = None
    account: Annotated[
        Text | None, about("Slurm account for jobs.", default="the user's default")
    ] = None
    qos: Annotated[
        Text | None, about("Quality of service for jobs.", default="the account's default")
    ] = None
    constraint: Annotated[
        Text | None, about("Required node features, as for `sbatch --constraint`.", default="none")
    ] = None
    reservation: Annotated[Text | None, about("Slurm reservation for jobs.", default="none")] = None
    container: Annotated[
        Literal["none", "podman", "apptainer", "pyxis"],
        about(
            "Container runtime for a task's `image` on the nodes. `pyxis` is a Slurm plugin. "
            "`none`: tasks are plain processes of the server's account, and `image` is ignored."
        ),
    ] = "none"
    allow: Annotated[
        tuple[Text, ...],
        about(
            "Parameters that requests may set in the field `slurm`: `partition`, `account`, "
            "`qos`, `constraint`, `reservation`, `gres`, `nice`, `exclusive`, `nodelist`, "
            "`exclude`, `licenses`. `NAME=VALUE` allows only that value. GPU fractions, which no "
            "quota counts, require `gres=shard` or `gres=mps` in addition to `gres`."
        ),
    ] = ()
    users: Annotated[
        dict[Text, dict[Text, Text]],
        about(
            "Job parameters per user: a table `[slurm.users.NAME]` for the FetchML user NAME. "
            "They override the general ones; parameters in the request override both. `user` is "
            "the cluster account that runs the user's jobs; `token_file` holds its token, for the "
            'transport `rest` without `jwt_key`. In the environment: `"NAME.account=VALUE '
            'NAME.qos=VALUE"`.',
            default="none",
        ),
    ] = msgspec.field(default_factory=dict)
    unmapped: Annotated[
        Literal["service", "refuse"],
        about(
            "What to do for users without a `user` in `[slurm.users.NAME]`. `service`: run their "
            "jobs as the server's account. `refuse`: reject their submits."
        ),
    ] = "service"
    become: Annotated[
        Literal["auto", "sudo", "ssh", "setuid"],
        about(
            "How to run Slurm's commands as other accounts, for the transport `cli`. `sudo`: with "
            "`sudo -n -u USER`, also on the host in `ssh`. `ssh`: with `ssh USER@HOST`. `setuid`: "
            "the server, which must be root, switches to the account. `auto`: `setuid` if root, "
            "else `sudo`."
        ),
    ] = "auto"
    relay_ports: Annotated[
        Annotated[str, Meta(pattern=r"^(0-0|[1-9][0-9]{3,4}-[1-9][0-9]{3,4})\Z")],
        about(
            "Range of node ports for connections from the server: Jupyter services, `fetchml "
            "exec`, the shell, and ports of tasks. Example: `40000-40999`. Each such task uses "
            "one port of its node. `0-0`: any port."
        ),
    ] = "0-0"
    max_pending: Annotated[
        AtLeastOne,
        about(
            "Maximum number of this server's tasks that are pending in Slurm. Further tasks wait "
            "in the server's own queue."
        ),
    ] = 1000
    user_max_pending: Annotated[
        AtLeastOne, about("Maximum number of tasks per user that are pending in Slurm.")
    ] = 500
    lost_after: Annotated[
        Count,
        about(
            "Seconds after which a started task counts as lost, and is retried, if Slurm no "
            "longer reports its job. The task may still be running on a disconnected node. 0: "
            "never; such a task can be cancelled."
        ),
    ] = 0
    lease_seconds: Annotated[
        Annotated[int, Meta(ge=0, le=86_400)],
        about(
            "Seconds that a task may run while its node cannot write to the shared directory. "
            "Then the node ends the task. If Slurm does not reach the node either, the server "
            "declares the task lost and retries it once the lease has not been renewed for twice "
            "this time. 0: no leases; such a task keeps running, and the server never starts it a "
            "second time on its own."
        ),
    ] = 0
    allow_root: Annotated[
        bool, about("Allow a server that runs as root to run tasks on the nodes, as root.")
    ] = False
