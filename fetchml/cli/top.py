"""`fetchml top`"""

import click
from rich.console import Group
from rich.text import Text

from fetchml.cli.connect import connected, found, plain_failures, target_option
from fetchml.cli.gpu_commands import gpu_picture
from fetchml.cli.render import can_redraw, console, show
from fetchml.cli.tables import task_table
from fetchml.cli.targets import Target
from fetchml.cli.task_lists import queue_table
from fetchml.client import Client, Task

SHOWN = 100


@click.command()
@target_option
def top(at_server: Target) -> None:
    """Show the queue, the GPUs, the tasks, and the log of one of them, live.

    Prints once if stdout is not a terminal. The server sends every change as it happens.

    \b
    Keys:
      up, down       select a task; scroll the log, after Tab
      l              show the log alone, and back
      c              cancel the selected task, after a question
      + -            change the priority of a waiting task
      q              quit
    """
    with found(at_server) as at:
        if not can_redraw(console()):
            with connected(at.server, at.key, at.tls_ca) as client:
                show(_picture(client))
            return
        # It takes as long to import as everything else.
        from fetchml.cli.live.app import TopApp  # noqa: PLC0415

        with plain_failures():
            failed = TopApp(at).run()
            if failed is not None:
                raise failed


def _picture(client: Client) -> Group:
    stats = client.queue()
    holding = _tasks(client, Task.preparing, Task.running, Task.collecting)
    waiting = sorted(_tasks(client, Task.queued), key=lambda task: not task.ahead)
    gpus = client.gpus()
    shown = [gpu_picture(gpus, holding), Text()] if gpus.gpus or gpus.nodes or gpus.notes else []
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
