"""`fetchml notify`"""

import click

from fetchml.cli.connect import json_option, server_option, valid_text
from fetchml.cli.param_types import NotifyParam
from fetchml.cli.render import clean, print_json
from fetchml.client import Client, NotifyTarget


@click.command()
@click.argument("task_id")
@click.argument("targets", metavar="[EVENT,…]URL...", nargs=-1, type=NotifyParam())
@click.option("--none", "nowhere", is_flag=True, help="Remove all webhooks of the task.")
@json_option
@server_option
def notify(
    client: Client,
    task_id: str,
    targets: tuple[NotifyTarget, ...],
    *,
    nowhere: bool,
    as_json: bool,
) -> None:
    """Set the webhooks of a task that has not ended. They replace all that it has.

    A webhook is sent when the task completes or fails, or on the events before a comma: completed,
    failed, started, preempted, idle. A task without webhooks of its own uses your default
    addresses, which 'fetchml notifications set' sets.

    \b
    Examples:
      fetchml notify @last https://example.com/hook
      fetchml notify @last failed,https://example.com/hook
      fetchml notify @last --none
    """
    if nowhere == bool(targets):
        raise click.UsageError("Give URLs, or --none")
    with valid_text():
        task = client.update(task_id, notify=targets)
    if as_json:
        print_json(task)
        return
    urls = " ".join(target.url for target in task.notify)
    what = f"notifies {urls}" if urls else "has no webhooks of its own"
    click.echo(clean(f"{task.id} {what}").plain)
