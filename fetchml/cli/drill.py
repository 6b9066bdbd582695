"""`fetchml drill`"""

import random
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import click

from fetchml.cli.connect import json_option, patient, server_option
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.ids import WHOLE, task_id_of
from fetchml.cli.param_types import Duration
from fetchml.cli.render import clean, console, duration, print_json, show
from fetchml.cli.submit import create, with_code
from fetchml.cli.tables import table
from fetchml.cli.task_options import grant_options
from fetchml.client import Client, Conflict, Task, TaskInterruption, ended

SECOND_MS = 1000


class Kill(NamedTuple):
    """One kill of an attempt."""

    attempt: int
    ran_ms: int
    lost_ms: int
    """The time since the attempt last wrote to the checkpoint; all of it if it never did."""
    saved: bool
    """Whether the attempt wrote to the checkpoint."""

    @classmethod
    def of(cls, done: TaskInterruption) -> "Kill":
        started, killed = done.started_at.ToMilliseconds(), done.interrupted_at.ToMilliseconds()
        saved_at = done.checkpoint_saved_at.ToMilliseconds()
        saved = saved_at >= started
        return cls(
            done.attempt,
            max(0, killed - started),
            max(0, killed - max(started, saved_at)),
            saved,
        )


@click.command()
@click.argument("target", metavar="TASK_ID|SCRIPT")
@click.argument("arguments", nargs=-1)
@click.option(
    "--kills",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    metavar="N",
    help="Kill N times.",
)
@click.option(
    "--within",
    type=Duration(),
    default="30",
    show_default=True,
    help="Kill each attempt at a random moment within this time after its start.",
)
@click.option("--seed", type=int, metavar="N", help="Seed of the random moments.")
@grant_options
@json_option
@server_option
def drill(
    client: Client,
    target: str,
    arguments: tuple[str, ...],
    *,
    kills: int,
    within: int,
    seed: int | None,
    as_json: bool,
    **granted: Any,
) -> int:
    """Kill a task at random moments, and report how much work each kill cost.

    Each kill ends the task's processes with SIGKILL, as the loss of its host does, and the task
    starts again. This does not count as a retry. A task that handles it well continues from its
    checkpoint, and loses no more than the time between two checkpoints.

    SCRIPT is a Python file: its folder is uploaded, and the script is submitted with a checkpoint.

    Exit code 1: the task failed by itself before the last kill.

    \b
    Examples:
      fetchml drill train.py --kills 10 --within 2m
      fetchml drill train.py --within 10 -- --epochs 3
    """
    client = patient(client)
    task = _task(client, target, arguments, granted)
    progress = console(stderr=True)
    if not task.checkpoint:
        progress.print(
            clean(f"{task.id} has no checkpoint (--checkpoint): each kill loses all its work"),
            style="yellow",
        )
    dice = random.Random(seed)  # noqa: S311  # moments, no secret
    kills_done: list[Kill] = []
    for _ in range(kills):
        done = _kill(client, task.id, dice, within)
        if done is None:
            break
        kills_done.append(Kill.of(done))
        progress.print(clean(f"attempt {done.attempt} was killed, {_lost(kills_done[-1])}"))
    task = client.get(task.id)
    if as_json:
        print_json({"task_id": task.id, "kills": [kill._asdict() for kill in kills_done]})
    else:
        _report(task, kills_done, kills)
    # Fewer kills because the task was too short are no failure; a task that fails by itself is one.
    return ExitCode.FAILED if task.status == Task.failed and len(kills_done) < kills else 0


def _task(client: Client, target: str, arguments: tuple[str, ...], granted: dict[str, Any]) -> Task:
    """Return the task, submitted first if a script is given. Raises CommandError."""
    script = Path(target)
    if WHOLE.fullmatch(target) or not script.is_file():
        if arguments or any(granted.values()):
            raise click.UsageError(
                "Arguments are passed to a script, and --secret, --volume, --notify and --without "
                "belong to it: name a script instead of a task"
            )
        if script.suffix or len(script.parts) > 1:
            raise CommandError(f"File {target} not found", "", ExitCode.NOT_FOUND)
        task = client.get(task_id_of(client, target))
        if ended(task):
            raise CommandError(
                f"The task {task.id} has ended",
                "Submit it again: 'fetchml retry'.",
                ExitCode.FAILED,
            )
        return task
    command = ("python3", script.name, *arguments)
    wanted = ("snapshot_id", "job_name", "image", "environment")
    fields: dict[str, Any] = {**dict.fromkeys(wanted), "metadata": (), "checkpoint": True}
    fields |= granted
    # Whatever fetchml.toml sets, it runs and is killed now.
    fields |= {"hold": False, "start_after": datetime.fromtimestamp(0, UTC)}
    fields = with_code(client, script.parent, command, fields)
    task = create(client, command, fields)
    console(stderr=True).print(clean(f"{task.id} is submitted"))
    return task


def _kill(
    client: Client, task_id: str, dice: random.Random, within: int
) -> TaskInterruption | None:
    """Kill the next attempt that runs at a random moment. Returns `None` if the task ends
    before."""
    moment = dice.uniform(0, within)
    while True:
        for update in client.watch_task(task_id):
            if update.HasField("task") and update.task.status == Task.running:
                break
        else:
            return None
        with suppress(TimeoutError):
            client.wait(task_id, timeout=moment)
            return None
        with suppress(Conflict):  # It ended meanwhile, or is retried: check again.
            return client.interrupt(task_id)


def _lost(kill: Kill) -> str:
    lost = f"{kill.lost_ms / SECOND_MS:.1f} s of work lost"
    return lost if kill.saved else f"{lost}: nothing was saved"


def _report(task: Task, kills_done: list[Kill], kills: int) -> None:
    shown = table("ATTEMPT", "RAN", "LOST", "SAVED")
    for kill in kills_done:
        shown.add_row(
            str(kill.attempt),
            f"{kill.ran_ms / SECOND_MS:.1f} s",
            f"{kill.lost_ms / SECOND_MS:.1f} s",
            "yes" if kill.saved else "no",
        )
    if kills_done:
        show(shown)
        total, most = sum(k.lost_ms for k in kills_done), max(k.lost_ms for k in kills_done)
        times = "1 kill" if len(kills_done) == 1 else f"{len(kills_done)} kills"
        click.echo(
            f"{times}: {duration(total / SECOND_MS)} of work lost, "
            f"{most / SECOND_MS:.1f} s at most by one kill"
        )
    if len(kills_done) < kills:
        click.echo(clean(f"The task {_end(task)} after {len(kills_done)} of {kills} kills"))


def _end(task: Task) -> str:
    """The end of a task that was killed fewer times than asked."""
    if task.status == Task.failed:
        return f"failed ({task.error})"
    return "completed" if ended(task) else "is gone"
