"""Which tasks a command is about: the options, and what they become."""

import functools
from collections.abc import Callable
from typing import Any

import click

from fetchml.client import Where

STATES = ("queued", "preparing", "running", "collecting", "completed", "failed")


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command is called with `where`."""

    @click.option(
        "--status",
        multiple=True,
        type=click.Choice(STATES),
        help="Only with this status. May be repeated.",
    )
    @click.option("--user", default="", metavar="NAME", help="Only of this user.")
    @click.option("--name", default="", metavar="PREFIX", help="Only jobs whose name begins so.")
    @click.option("--experiment", default="", metavar="ID", help="Only of this experiment.")
    @functools.wraps(command)
    def with_filters(
        status: tuple[str, ...], user: str, name: str, experiment: str, **options: Any
    ) -> Any:
        where = Where(states=status, user_id=user, job_name_prefix=name, experiment_id=experiment)
        return command(where=where, **options)

    return with_filters
