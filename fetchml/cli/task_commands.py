"""Commands that change tasks: cancel, hold, priority, timeout, label, retry, rm and others."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import click

from fetchml.cli.connect import json_option, plain_failures, server_option, valid_text
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.groups import CommandGroup
from fetchml.cli.ids import task_id_of
from fetchml.cli.param_types import Duration, KeyValue, StartTime
from fetchml.cli.render import clean, counted, local_time, print_json, print_result
from fetchml.client import Client, Unauthorized, Unreachable, ended, status_name

_EVERY_TIME = (Unauthorized, Unreachable)
"""Failures that every further call would have."""


def for_each(named: Iterable[str], act: Callable[[str], None]) -> int:
    """Call `act` for each task; print failures and continue. Return the exit code of the first
    failure, 0 without one. Raises CommandError if the server can't be reached or rejects the
    key."""
    code = 0
    for each in named:
        try:
            with plain_failures():
                act(each)
        except CommandError as error:
            if isinstance(error.__cause__, _EVERY_TIME):
                raise
            error.show()
            code = code or error.exit_code
    return code


LIVE = ("queued", "preparing", "running", "collecting")


@click.command()
@click.argument("task_ids", nargs=-1)
@click.option(
    "--status",
    "states",
    type=click.Choice(LIVE),
    multiple=True,
    help="Cancel your tasks with this status. Repeatable.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="KEY[=VALUE]",
    help="Cancel your tasks with this label. Repeatable; all must match.",
)
@click.option("--user", metavar="NAME", help="Cancel this user's tasks. For admins.")
@click.option("--yes", "-y", is_flag=True, help="Cancel without asking.")
@json_option
@server_option
def cancel(
    client: Client,
    task_ids: tuple[str, ...],
    states: tuple[str, ...],
    labels: tuple[str, ...],
    user: str | None,
    *,
    yes: bool,
    as_json: bool,
) -> int:
    """Cancel waiting or running tasks. They stay in the history as failed.

    A running task receives SIGTERM, then SIGKILL if it does not end within the grace period. With
    options instead of ids, shows how many tasks match, and asks.

    \b
    Examples:
      fetchml cancel @last
      fetchml cancel --status queued --label sweep=7
      fetchml cancel --user ada --yes
    """
    chosen = bool(states or labels or user)
    if chosen == bool(task_ids):
        raise click.UsageError("Give ids of tasks, or --status, --label or --user")
    if chosen:
        task_ids = _matching(client, states, labels, user, yes=yes, as_json=as_json)

    def one(named: str) -> None:
        task = client.cancel(task_id_of(client, named))
        if as_json:
            print_json(task)
        elif ended(task):
            click.echo(f"{task.id} has already ended: {status_name(task)}")
        else:
            click.echo(f"{task.id} is being cancelled")

    return for_each(task_ids, one)


def _matching(
    client: Client,
    states: tuple[str, ...],
    labels: tuple[str, ...],
    user: str | None,
    *,
    yes: bool,
    as_json: bool,
) -> tuple[str, ...]:
    """Return the ids of the live tasks that match, once the user has agreed."""
    user = user or client.server_info().user_id
    where = client.list(states=states or LIVE, labels=labels, user_id=user)
    task_ids = tuple(task.id for task in where)
    what = f"{counted(len(task_ids), 'task')} of {clean(user).plain}"
    if not task_ids:
        click.echo("No live task matches.", err=True)
    elif not yes:
        if as_json:
            raise CommandError("--json cannot ask", "Add --yes.", ExitCode.USAGE)
        click.confirm(f"Cancel {what}?", abort=True)
    return task_ids


@click.command()
@click.argument("task_ids", nargs=-1, required=True)
@server_option
def hold(client: Client, task_ids: tuple[str, ...]) -> int:
    """Keep waiting tasks from starting, until they are released.

    Held tasks keep their age. 'fetchml submit --hold' submits a task that is held from the start.

    \b
    Examples:
      fetchml hold @last
      fetchml release @last
    """

    def act(named: str) -> None:
        click.echo(f"{client.update(task_id_of(client, named), hold=True).id} is held")

    return for_each(task_ids, act)


@click.command()
@click.argument("task_ids", nargs=-1, required=True)
@server_option
def release(client: Client, task_ids: tuple[str, ...]) -> int:
    """Release tasks held by 'fetchml hold' or 'fetchml submit --hold'.

    \b
    Example:
      fetchml release @last
    """

    def act(named: str) -> None:
        click.echo(f"{client.update(task_id_of(client, named), hold=False).id} is released")

    return for_each(task_ids, act)


@click.command()
@click.argument("task_id")
@click.argument("priority", type=click.IntRange(1, 10))
@json_option
@server_option
def priority(client: Client, task_id: str, priority: int, *, as_json: bool) -> None:
    """Change the priority of a waiting task: 1 to 10. 10 is the most urgent.

    The task takes its new place in the queue at once.

    \b
    Example:
      fetchml priority @last 9
    """
    task = client.update(task_id, priority=priority)
    print_result(task, f"{task.id} has priority {task.priority}", as_json=as_json)


@click.command()
@click.argument("task_id")
@click.argument("time", metavar="TIME|+TIME|none")
@json_option
@server_option
@click.pass_context
def timeout(
    context: click.Context, client: Client, task_id: str, time: str, *, as_json: bool
) -> None:
    """Change the time limit of a waiting or running task.

    TIME counts from the start of the attempt: 90 (seconds), 30m, 12h or 2d. +TIME adds to the
    current limit, and 'none' removes the limit. The warning of --warn-seconds moves along.

    \b
    Examples:
      fetchml timeout @last 12h
      fetchml timeout @last +90m
    """
    task_id = task_id_of(client, task_id)
    seconds = 0
    if time != "none":
        seconds = Duration().convert(time.removeprefix("+"), None, context)
    if time.startswith("+"):
        present = client.get(task_id).timeout_seconds
        if not present:
            raise CommandError(
                f"{task_id} has no time limit to add to", "Give the whole time.", ExitCode.USAGE
            )
        seconds += present
    task = client.update(task_id, timeout_seconds=seconds)
    if as_json:
        print_json(task)
    elif task.timeout_seconds:
        click.echo(f"{task.id} has a time limit of {task.timeout_seconds} s")
    else:
        click.echo(f"{task.id} has no time limit")


NOW = "now"


@click.command("start-after")
@click.argument("task_id")
@click.argument("time", metavar="TIME|now")
@json_option
@server_option
@click.pass_context
def start_after(
    context: click.Context, client: Client, task_id: str, time: str, *, as_json: bool
) -> None:
    """Set the earliest start of a waiting task.

    TIME is a time such as 2026-12-01T20:00Z, in the zone of this machine if it names none, or +90m,
    +12h or +2d from now. 'now' removes it: the task starts as soon as it can. A new task gets such
    a time by 'fetchml submit --start-after'.

    \b
    Examples:
      fetchml start-after @last +2h
      fetchml start-after @last now
    """
    earliest = datetime.fromtimestamp(0, UTC)
    if time != NOW:
        earliest = StartTime().convert(time, None, context)
    task = client.update(task_id, start_after=earliest)
    if as_json:
        print_json(task)
    elif task.HasField("start_after"):
        click.echo(f"{task.id} starts after {local_time(task.start_after)}")
    else:
        click.echo(f"{task.id} starts as soon as it can")


@click.command()
@click.argument("task_id")
@click.argument("labels", nargs=-1, required=True, type=KeyValue())
@json_option
@server_option
def label(
    client: Client, task_id: str, labels: tuple[tuple[str, str], ...], *, as_json: bool
) -> None:
    """Set labels of a task, at any time. An empty value removes its label; all others stay.

    \b
    Examples:
      fetchml label @last best=yes
      fetchml label @last best=
    """
    with valid_text():
        task = client.update(task_id, metadata=dict(labels))
    if as_json:
        print_json(task)
        return
    shown = " ".join(f"{key}={value}" for key, value in sorted(task.metadata.items()))
    click.echo(f"{task.id} has {clean(shown).plain or 'no labels'}")


@click.command()
@click.argument("task_ids", nargs=-1, required=True)
@json_option
@server_option
def retry(client: Client, task_ids: tuple[str, ...], *, as_json: bool) -> int:
    """Submit ended tasks again, and print the ids of the new ones.

    A new task has the same request, variables included, and the labels that the old one has now.

    \b
    Examples:
      fetchml retry @last
      fetchml ls --status failed -o name | xargs -r fetchml retry
    """

    def one(named: str) -> None:
        task = client.retry(task_id_of(client, named))
        print_result(task, task.id, as_json=as_json)

    return for_each(task_ids, one)


@click.command()
@click.argument("task_ids", nargs=-1, required=True)
@server_option
def rm(client: Client, task_ids: tuple[str, ...]) -> int:
    """Remove ended tasks from the history, with their logs and outputs.

    A live task stays: cancel it first. Statistics keep counting removed tasks.
    """

    def one(named: str) -> None:
        task = client.get(task_id_of(client, named))
        if not ended(task):
            raise CommandError(
                f"{task.id} is {status_name(task)}",
                f"Cancel it first: fetchml cancel {task.id}",
                ExitCode.CONFLICT,
            )
        client.delete(task.id)
        click.echo(f"{task.id} is removed")

    return for_each(task_ids, one)


@click.group(cls=CommandGroup)
def task() -> None:
    """Recover tasks of a cluster. For admins.

    \b
    Examples:
      fetchml task declare-lost @last
    """


@task.command()
@click.argument("task_ids", nargs=-1, required=True)
@json_option
@server_option
def declare_lost(client: Client, task_ids: tuple[str, ...], *, as_json: bool) -> int:
    """Give up tasks whose node is silent, and retry them.

    A node that is only cut off still runs the task, which then runs twice: make sure that the node
    is down. 'fetchml show' reports a silent node.

    \b
    Examples:
      fetchml task declare-lost 4f21
    """

    def one(named: str) -> None:
        given_up = client.declare_lost(task_id_of(client, named))
        print_result(given_up, f"{given_up.id} counts as lost; it is retried", as_json=as_json)

    return for_each(task_ids, one)
