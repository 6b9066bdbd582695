"""`fetchml logs`"""

import sys

import click

from fetchml.cli.connect import RetryNotice, server_option
from fetchml.client import Client


@click.command()
@click.argument("task_id")
@click.option("--follow", "-f", is_flag=True, help="Follow the log until the task ends.")
@click.option(
    "--attempt",
    type=click.IntRange(1),
    metavar="N",
    help="Print attempt N; 1 is the first. Default: the last one, and with -f those after it.",
)
@server_option
def logs(client: Client, task_id: str, attempt: int | None, *, follow: bool) -> None:
    """Print the stdout and stderr of a task, byte for byte."""
    notice = RetryNotice()
    client = client.with_options(on_cut=notice) if follow else client.with_options(patience=0)
    chunks = client.logs(task_id, attempt=attempt, follow=follow)
    seen, expected = attempt, 0
    for chunk in chunks:
        notice.restored()
        if chunk.attempt != seen:
            seen, expected = chunk.attempt, 0
        if chunk.offset > expected:
            click.echo(f"[{chunk.offset - expected} bytes are no longer kept]", err=True)
        expected = chunk.offset + len(chunk.data)
        sys.stdout.buffer.write(chunk.data)
        sys.stdout.buffer.flush()
