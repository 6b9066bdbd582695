"""The shim's command line, the same for every launcher."""

from pathlib import PurePath

from fetchml.ports.launcher import AttemptExit, LaunchSpec

PLACES = ("FETCHML_WORKSPACE", "FETCHML_DATASETS", "FETCHML_OUTPUTS")
"""Variables that name a task's three places under every launcher."""

NO_ROOM_TO_START = AttemptExit(
    lost="the disk is full: the command could not be started", no_room=True
)
"""Exit of an attempt whose shim exited with `NO_ROOM` and claimed nothing."""


def shim_command(
    shim: PurePath, run: LaunchSpec, *, run_folder: PurePath, workspace: PurePath
) -> list[str]:
    """Return the shim's argv, with paths as the shim sees them."""
    command = [str(shim), "--dir", str(run_folder), "--cwd", str(workspace)]
    command += ["--segment-bytes", str(run.log_segment_bytes), "--grace-ms", str(run.grace_ms)]
    if run.timeout_ms:
        command += ["--timeout-ms", str(run.timeout_ms)]
    return [*command, "--", *run.argv]
