"""The shim's command line, the same for every launcher."""

from pathlib import PurePath, PurePosixPath

from fetchml.ports.launcher import AttemptExit, LaunchSpec, RelayCommand, SessionCommand

NO_ROOM_TO_START = AttemptExit(
    lost="the disk is full: the command could not be started", no_room=True
)
"""Exit of an attempt whose shim exited with `NO_ROOM` and claimed nothing."""
VOLUME_REPLACED = AttemptExit(
    lost="a volume was replaced by another folder while the task was prepared, so it was not "
    "started: submit it again, or ask the owner of the server who can write beside its volumes"
)
"""Exit of an attempt whose shim exited with `WRONG_VOLUME` and claimed nothing."""


def shim_command(
    shim: PurePath,
    run: LaunchSpec,
    *,
    run_folder: PurePath,
    workspace: PurePath,
    secrets: PurePath | None = None,
    control: PurePath | None = None,
    control_ms: int = 0,
    usage_ms: int = 0,
    lease_ms: int = 0,
    environment: str = "",
    relay: PurePath | None = None,
    sampler: PurePath | None = None,
    volumes: PurePath | None = None,
    gateway: str = "",
) -> list[str]:
    """Return the shim's argv, with paths from the shim's view. `secrets`: the folder for
    secrets that are files. `control`: the attempt's folder of that name; `None` if it has none.
    `control_ms`: how often the shim looks there; 0: as often as it does by itself.
    `usage_ms`: how often it records what its processes use, for a server
    that can't see them; 0: never. `lease_ms`: how long the command may run without a renewal of its
    lease; 0: no limit. `environment`: a file with more variables of the command; empty if it has
    none. `relay`: the program by which a server on another machine enters the attempt.
    `sampler`: the program that measures the attempt's GPUs there. `volumes`: the folder of
    the volumes, which the shim compares with those that were checked; `None`: it compares none.
    `gateway`: PORT:PATH, a port of the loopback and the server's socket that is joined with it;
    empty if the command reaches the server otherwise."""
    command = [str(shim), "--dir", str(run_folder), "--cwd", str(workspace)]
    command += ["--segment-bytes", str(run.log_segment_bytes), "--grace-ms", str(run.grace_ms)]
    if run.timeout_ms:
        command += ["--timeout-ms", str(run.timeout_ms)]
    if run.warn_ms:
        command += ["--warn-ms", str(run.warn_ms)]  # Also without a limit: it may get one.
    if control is not None:
        command += ["--control", str(control)]
        if control_ms:
            command += ["--control-ms", str(control_ms)]
        if relay is not None:
            command += ["--relay", str(relay)]
    if run.secrets is not None and secrets is not None:
        command += ["--secrets", str(secrets)]
    if gateway:
        command += ["--gateway", gateway]
    if usage_ms:
        command += ["--usage-ms", str(usage_ms)]
    if lease_ms:
        command += ["--lease-ms", str(lease_ms)]
    if sampler is not None and run.gpu:
        command += ["--sampler", str(sampler)]
    if environment:
        command += ["--env", environment]
    for each in run.volumes:
        if volumes is not None and each.identity is not None:
            device, inode = each.identity
            target = volumes / PurePosixPath(each.target).name
            command += ["--volume", f"{device}:{inode}:{target}"]
    return [*command, "--", *run.argv]


def helper_command(
    shim: PurePath, command: SessionCommand | RelayCommand, *, run_folder: PurePath
) -> list[str]:
    """Return the argv of the shim as a helper within an attempt, with paths from the shim's
    view."""
    match command:
        case SessionCommand():
            size = command.terminal
            terminal = ["--tty", f"{size[0]}x{size[1]}"] if size else []
            return [str(shim), "session", *terminal, "--", *command.argv]
        case RelayCommand():
            return [str(shim), "relay", str(run_folder), command.socket_name, str(command.port)]
