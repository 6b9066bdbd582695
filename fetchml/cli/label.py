"""`fetchml label`"""

import click

from fetchml.cli.connect import json_option, server_option, valid_text
from fetchml.cli.param_types import KeyValue
from fetchml.cli.render import clean, print_json
from fetchml.client import Client


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
