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
            "How Slurm is reached. `cli`: by its commands (`sbatch`, `squeue`, `scancel`, "
            "`scontrol`, `sinfo`). `rest`: by slurmrestd, which is faster."
        ),
    ] = "cli"
    ssh: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*\Z", max_length=255)] | None,
        about(
            "Host on which Slurm's commands run, as `ssh` names it, for the transport `cli`. "
            "OpenSSH must reach it without a question.",
            default="none: this host",
        ),
    ] = None
    url: Annotated[
        Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+/?$")],
        about("Address of slurmrestd."),
    ] = "http://127.0.0.1:6820"
    token_file: Annotated[
        Path | None,
        about(
            "File with a token (JWT) of the server's user for slurmrestd. Read for each request, "
            "so that another program can keep it fresh.",
            default="none",
        ),
    ] = None
    jwt_key: Annotated[
        Path | None,
        about(
            "File with Slurm's own key for tokens, from which the server makes them. Any account "
            "that can read it can act as every user of the cluster: prefer `token_file`.",
            default="none",
        ),
    ] = None
    shared_dir: Annotated[
        Path | None,
        about(
            "Folder of this server alone that all nodes see under the same path. Attempts, logs, "
            "outputs and fetched datasets are in it. Required.",
            default="none",
        ),
    ] = None
    partition: Annotated[
        Text | None, about("Partition of the jobs.", default="the cluster's default")
    ] = None
    account: Annotated[Text | None, about("Account of the jobs.", default="the user's default")] = (
        None
    )
    qos: Annotated[
        Text | None, about("Quality of service of the jobs.", default="the account's default")
    ] = None
    constraint: Annotated[
        Text | None, about("Features that the nodes must have, as for `sbatch`.", default="none")
    ] = None
    reservation: Annotated[Text | None, about("Reservation of the jobs.", default="none")] = None
    container: Annotated[
        Literal["none", "podman", "apptainer", "pyxis"],
        about(
            "Program that runs a task's `image` on a node. `pyxis` is a plugin of Slurm. `none`: "
            "tasks are plain processes of the server's account and `image` is ignored."
        ),
    ] = "none"
    allow: Annotated[
        tuple[Text, ...],
        about(
            "Parameters that a request may set in its field `slurm`: `partition`, `account`, "
            "`qos`, `constraint`, `reservation`, `gres`, `nice`, `exclusive`, `nodelist`, "
            "`exclude`, `licenses`. `NAME=VALUE` allows that value only. Parts of GPUs, which no "
            "quota counts, need `gres=shard` or `gres=mps` beside `gres`."
        ),
    ] = ()
    users: Annotated[
        dict[Text, dict[Text, Text]],
        about(
            "Parameters of the jobs of one user, by the user's name in FetchML, as a table "
            "`[slurm.users.NAME]`. They go before those of all, and the request's before both. "
            "`user` is the account of the cluster that the user's jobs belong to, and `token_file` "
            "the file with its token, for the transport `rest` without `jwt_key`. In "
            'the environment: `"NAME.account=VALUE NAME.qos=VALUE"`.',
            default="none",
        ),
    ] = msgspec.field(default_factory=dict)
    unmapped: Annotated[
        Literal["service", "refuse"],
        about(
            "Users without a `user` in `[slurm.users.NAME]`. `service`: their jobs run "
            "as the server's account. `refuse`: their submits are refused."
        ),
    ] = "service"
    become: Annotated[
        Literal["auto", "sudo", "ssh", "setuid"],
        about(
            "How Slurm's commands run as the accounts of users, for the transport `cli`. `sudo`: "
            "by `sudo -n -u USER`, also on the host of `ssh`. `ssh`: by `ssh USER@HOST`. "
            "`setuid`: the server, which must be root, becomes the account. `auto`: `setuid` for "
            "root, else `sudo`."
        ),
    ] = "auto"
    relay_ports: Annotated[
        Annotated[str, Meta(pattern=r"^(0-0|[1-9][0-9]{3,4}-[1-9][0-9]{3,4})\Z")],
        about(
            "Ports of nodes to which the server connects for Jupyter services, `fetchml exec`, the "
            "shell and ports of tasks, as `40000-40999`. One for each such task of a node. `0-0`: "
            "any port."
        ),
    ] = "0-0"
    max_pending: Annotated[
        AtLeastOne,
        about(
            "Most tasks that Slurm holds pending for this server. Others wait in the server's own "
            "queue."
        ),
    ] = 1000
    user_max_pending: Annotated[
        AtLeastOne, about("Most tasks of one user that Slurm holds pending.")
    ] = 500
    lost_after: Annotated[
        Count,
        about(
            "Seconds after which a task that has started, and whose job Slurm lost sight of, "
            "counts as lost and is retried. It may still run on a node that is cut off. 0: never; "
            "it can be cancelled."
        ),
    ] = 0
    lease_seconds: Annotated[
        Annotated[int, Meta(ge=0, le=86_400)],
        about(
            "Seconds that a task goes on when its node can't write to the shared folder. After "
            "them the node ends it. A task whose node is silent to Slurm too counts as lost, and "
            "is retried, when its lease was not renewed for twice as long. 0: no lease; "
            "such a task goes on, and is never started a second time by itself."
        ),
    ] = 0
    allow_root: Annotated[
        bool, about("Let a server of root run tasks on the nodes: they are root there.")
    ] = False
