"""`fetchml top`"""

import time

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from fetchml.cli.connect import server_option
from fetchml.cli.gpus import gpu_picture
from fetchml.cli.queue import queue_table
from fetchml.cli.render import can_redraw, console, show, task_table
from fetchml.client import Client, Task

EVERY_SECONDS = 1
SHOWN = 100


@click.command()
@server_option
def top(client: Client) -> None:
    """Show the queue, the GPUs and the tasks, live. Prints once if stdout is not a terminal."""
    out = console()
    if not can_redraw(out):
        show(_picture(client))
        return
    with Live(_picture(client), console=out, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(EVERY_SECONDS)
            live.update(_picture(client), refresh=True)


def _picture(client: Client) -> Group:
    stats = client.queue()
    holding = _tasks(client, Task.preparing, Task.running, Task.collecting)
    waiting = sorted(_tasks(client, Task.queued), key=lambda task: not task.ahead)
    gpus = client.gpus()
    shown = [gpu_picture(gpus, holding), Text()] if gpus.gpus or gpus.notes else []
    return Group(
        queue_table(stats),
        Text(),
        *shown,
        task_table(holding),
        Text(),
        Text(f"{stats.queued} waiting: the newest, prestaged ones first", "dim"),
        task_table(waiting),
    )


def _tasks(client: Client, *states: Task.Status) -> list[Task]:
    return list(client.page(SHOWN, states=states).tasks)
