"""The options that select what a list shows."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from fetchml.cli.ids import experiment_id_of as id_of
from fetchml.client import Client, Where

Command = TypeVar("Command", bound=Callable[..., Any])
STATES = ("queued", "preparing", "running", "collecting", "completed", "failed")


def limit_option(shown: str, *, default: int, least: int = 0) -> Callable[[Command], Command]:
    """Return the option `--limit`, up to 1000. `shown`: the help text for the N items."""
    return click.option(
        "--limit",
        type=click.IntRange(least, 1000),
        metavar="N",
        default=default,
        show_default=True,
        help=f"{shown}, up to 1000.",
    )


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the filter options to a command, and pass it their values as `where`."""

    @click.option(
        "--status",
        multiple=True,
        type=click.Choice(STATES),
        help="Show only tasks with this status. Repeatable.",
    )
    @click.option("--user", default="", metavar="NAME", help="Show only this user's tasks.")
    @click.option("--name", default="", metavar="PREFIX", help="Show only jobs with this prefix.")
    @click.option(
        "--experiment",
        default="",
        metavar="NAME",
        help="Show only tasks of this experiment: its name or id.",
    )
    @functools.wraps(command)
    def with_filters(
        client: Client,
        status: tuple[str, ...],
        user: str,
        name: str,
        experiment: str,
        **options: Any,
    ) -> Any:
        where = Where(
            states=status,
            user_id=user,
            job_name_prefix=name,
            experiment_id=id_of(client, experiment),
        )
        return command(client=client, where=where, **options)

    return with_filters
