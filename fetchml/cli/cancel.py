"""`fetchml cancel`"""

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.each_task import for_each
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.render import clean, counted, print_json
from fetchml.cli.task_ids import task_id_of
from fetchml.client import Client, ended, status_name

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
    found = tuple(task.id for task in where)
    what = f"{counted(len(found), 'task')} of {clean(user).plain}"
    if not found:
        click.echo("No live task matches.", err=True)
    elif not yes:
        if as_json:
            raise CommandError("--json cannot ask", "Add --yes.", ExitCode.USAGE)
        click.confirm(f"Cancel {what}?", abort=True)
    return found
