"""`fetchml queue`"""

import click
from rich.table import Table

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.render import print_json, show
from fetchml.cli.tables import table
from fetchml.client import Client, QueueStats


@click.command()
@json_option
@server_option
def queue(client: Client, *, as_json: bool) -> None:
    """Show how many tasks wait, run, and ended today."""
    stats = client.queue()
    if as_json:
        print_json(stats)
    else:
        show(queue_table(stats))


def queue_table(stats: QueueStats) -> Table:
    shown = table("QUEUED", "RUNNING", "COMPLETED TODAY", "FAILED TODAY", "EXECUTORS")
    numbers = (stats.queued, stats.running, stats.completed, stats.failed, stats.workers)
    shown.add_row(*map(str, numbers))
    return shown
