"""`fetchml top`"""

import time

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from fetchml.cli.client import server_option
from fetchml.cli.queue import queue_table
from fetchml.cli.render import console, show, task_table
from fetchml.client import Client, Task

EVERY_SECONDS = 1
SHOWN = 100


@click.command()
@server_option
def top(client: Client) -> None:
    """Show the queue and what runs, live. Off a terminal: once."""
    out = console()
    if not out.is_terminal:
        show(_picture(client))
        return
    with Live(_picture(client), console=out, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(EVERY_SECONDS)
            live.update(_picture(client), refresh=True)


def _picture(client: Client) -> Group:
    stats = client.queue()
    holding = client.page(SHOWN, states=(Task.preparing, Task.running, Task.collecting)).tasks
    waiting = client.page(SHOWN, states=(Task.queued,)).tasks
    return Group(
        queue_table(stats),
        Text(),
        task_table(holding),
        Text(),
        Text(f"{stats.queued} waiting, newest first", "dim"),
        task_table(waiting),
    )
