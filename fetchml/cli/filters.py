"""Which tasks a command is about: the options, and what they become."""

from collections.abc import Callable
from typing import Any

import click

STATES = ("queued", "preparing", "running", "collecting", "completed", "failed")


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`status`, `user`, `name`, `experiment`."""
    for option in (
        click.option("--experiment", default="", metavar="ID", help="Only of this experiment."),
        click.option(
            "--name", default="", metavar="PREFIX", help="Only jobs whose name begins so."
        ),
        click.option("--user", default="", metavar="NAME", help="Only of this user."),
        click.option(
            "--status",
            multiple=True,
            type=click.Choice(STATES),
            help="Only with this status. May be repeated.",
        ),
    ):
        command = option(command)
    return command
