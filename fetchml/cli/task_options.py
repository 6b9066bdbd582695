"""The options that describe a task, for the commands that submit tasks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from fetchml.cli.param_types import (
    AfterParam,
    DatasetParam,
    Duration,
    Int32,
    KeyValue,
    NotifyParam,
    SecretParam,
    StartTime,
)
from fetchml.cli.project_folder import EnvironmentParam
from fetchml.core.requests import project_file

_GRANTS = (
    click.option(
        "--volume",
        "volumes",
        multiple=True,
        metavar="NAME",
        help="Mount a volume of the server at /volumes/NAME. Repeatable.",
    ),
    click.option(
        "--secret",
        "secrets",
        type=SecretParam(),
        multiple=True,
        help="Give the task this secret of yours as a variable, or as a file in /secrets. "
        "Repeatable.",
    ),
    click.option(
        "--notify",
        type=NotifyParam(),
        multiple=True,
        help="Send a webhook to this URL when the task completes or fails, or on the events before "
        "a comma: failed,preempted,https://… Repeatable.",
    ),
    click.option(
        "--without",
        type=click.Choice([each.value for each in project_file.GRANTED]),
        multiple=True,
        help="Leave out the secrets, volumes or webhooks that fetchml.toml asks for. Repeatable.",
    ),
)
"""Options for entries of the code's fetchml.toml that a request has to grant."""

_OPTIONS = (
    click.option(
        "--name", "-n", "job_name", metavar="NAME", help="Job name. Default: the script's name."
    ),
    click.option(
        "--dir",
        "folder",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Upload this folder's code as a snapshot, unless the server has it, and run there.",
    ),
    click.option("--image", metavar="IMAGE", help="Container image."),
    click.option(
        "--args", metavar="LINE", help="More arguments as one string, split by shell rules."
    ),
    click.option("--cpu", type=Int32(), metavar="CORES", help="CPU cores."),
    click.option(
        "--memory-gb", type=Int32(), metavar="GIB", help="Memory limit. Exceeding it ends the task."
    ),
    click.option("--gpu", type=Int32(), metavar="N", help="GPUs."),
    click.option(
        "--preemptible/--no-preemptible",
        default=None,
        help="Let a more urgent task stop this one, which starts again later.",
    ),
    click.option(
        "--checkpoint/--no-checkpoint",
        default=None,
        help="Give the task a folder /checkpoint that is kept between attempts.",
    ),
    click.option(
        "--from-checkpoint",
        "checkpoint_from",
        metavar="TASK_ID",
        help="Begin with a copy of this task's checkpoint.",
    ),
    click.option(
        "--warn-seconds",
        type=Int32(),
        metavar="N",
        help="Send SIGUSR1 N seconds before the time limit, and before a preemption or cancel.",
    ),
    click.option(
        "--env",
        "-e",
        type=KeyValue(or_environment=True),
        multiple=True,
        help="Set a variable. KEY alone takes its value from this shell. Repeatable.",
    ),
    click.option(
        "--dataset",
        "datasets",
        multiple=True,
        metavar="NAME",
        help="Mount a dataset of the server at /data/NAME. Repeatable.",
    ),
    click.option(
        "--dataset-spec",
        "dataset_specs",
        type=DatasetParam(),
        multiple=True,
        help="Mount a dataset given by name, source, sha256, mount_path. Repeatable.",
    ),
    click.option(
        "--environment",
        type=EnvironmentParam(),
        help="Install the packages that this file of the code lists: requirements.txt, uv.lock, or "
        "a script with inline metadata. Default: a file of the folder. 'none': no packages.",
    ),
    *_GRANTS,
    click.option("--snapshot", "snapshot_id", metavar="ID", help="Run the code of this snapshot."),
    click.option(
        "--experiment",
        "experiment_id",
        metavar="NAME",
        help="Add the task to this experiment: its name or id.",
    ),
    click.option(
        "--slurm",
        type=KeyValue(),
        multiple=True,
        help="Set a parameter of the Slurm job: partition=gpu, gres=gpu:a100:2. Repeatable.",
    ),
    click.option(
        "--metadata", "-m", type=KeyValue(), multiple=True, help="Add a label. Repeatable."
    ),
    click.option(
        "--timeout",
        "timeout_seconds",
        type=Duration(),
        help="Time limit: 90, 30m, 12h, 2d. 0 means none.",
    ),
    click.option(
        "--retries", "max_retries", type=Int32(), metavar="N", help="Retry up to N times."
    ),
    click.option(
        "--after",
        type=AfterParam(),
        multiple=True,
        help="Start after this task has completed; with TASK:ended or TASK:failed, has ended or "
        "failed. sweep:SWEEP: after all tasks of a sweep. same-index:SWEEP, for a new sweep: each "
        "task after the one with its index. Repeatable.",
    ),
    click.option(
        "--inputs-from",
        multiple=True,
        metavar="TASK",
        help="Start after this task has completed, with its outputs at /inputs/JOB_NAME. "
        "same-index:SWEEP, for a new sweep: the task with the same index. Repeatable.",
    ),
    click.option(
        "--start-after",
        type=StartTime(),
        help="Start no earlier than this time: 2026-12-01T20:00Z, or +2h from now.",
    ),
    click.option(
        "--hold/--no-hold",
        default=None,
        help="Hold the task until 'fetchml release'.",
    ),
    click.option(
        "--may-idle/--no-may-idle",
        default=None,
        help="Let the task leave its GPUs idle, if the server allows it.",
    ),
)


def task_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, in this order."""
    return _with(_OPTIONS, command)


def grant_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that grant what the code's fetchml.toml requests."""
    return _with(_GRANTS, command)


def _with(options: Sequence[Any], command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command
