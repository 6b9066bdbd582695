"""`fetchml notifications` and `fetchml notify`"""

from collections.abc import Iterable

import click

from fetchml.cli.connect import json_option, server_option, valid_text
from fetchml.cli.errors import CommandError
from fetchml.cli.groups import CommandGroup
from fetchml.cli.ids import id_by_end
from fetchml.cli.list_options import Output, limit_option, output_option, print_list
from fetchml.cli.param_types import NotifyParam
from fetchml.cli.render import clean, console, local_time, print_json
from fetchml.cli.tables import FittedTable, table
from fetchml.client import (
    Client,
    Notification,
    NotificationSettings,
    NotifyTarget,
    enum_name,
    enum_names,
    to_json,
)
from fetchml.v1.notification_pb2 import ListNotificationsResponse


@click.group(cls=CommandGroup)
def notifications() -> None:
    """Show webhooks that are not delivered, and set your default addresses.

    \b
    Examples:
      fetchml notifications ls
      fetchml notifications retry --all
      fetchml notifications test https://example.com/hook
      fetchml notifications set failed,https://example.com/hook
      fetchml notifications secret https://example.com/hook
    """


@notifications.command()
@click.option("--dead", "state", flag_value="dead", help="Show only those that were given up.")
@click.option("--pending", "state", flag_value="pending", help="Show only those that wait.")
@limit_option("Show at most N messages", default=50, least=1)
@output_option
@server_option
def ls(client: Client, state: str | None, limit: int, output: Output) -> None:
    """List messages that are not delivered, newest first, with the last error."""
    messages = client.notifications(state=state or "", limit=limit)
    whole = {"notifications": [], **to_json(messages)}
    print_list(output, whole, messages.notifications, lambda: _table(messages.notifications))
    if output.kind != "json":
        for line in _beyond(messages):
            console(stderr=True).print(line, style="dim")


def _table(messages: Iterable[Notification]) -> FittedTable:
    shown = table("ID", "TYPE", "TASK", "STATE", "FAILED", "NEXT", "ERROR", spare=("NEXT", "TASK"))
    for each in messages:
        shown.add_row(
            each.id,
            clean(each.type),
            each.task_id,
            enum_name(each, "state"),
            str(each.attempts),
            local_time(each.next_at) if each.HasField("next_at") else "",
            clean(each.last_error),
        )
    return shown


def _beyond(reply: ListNotificationsResponse) -> Iterable[str]:
    beyond = reply.total - len(reply.notifications)
    if beyond > 0:
        yield f"{beyond} more messages: use --limit"
    if reply.dropped:
        yield f"{reply.dropped} messages were dropped for lack of room since the server started"


@notifications.command()
@click.argument("notification_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Send all dead letters again.")
@server_option
def retry(client: Client, notification_ids: tuple[str, ...], *, everything: bool) -> None:
    """Send messages again, at once and for another day if they fail."""
    if everything == bool(notification_ids):
        raise click.UsageError("Give ids, which 'fetchml notifications ls' lists, or --all")
    if everything:
        ids = [each.id for each in client.notifications(state="dead", limit=1000).notifications]
    else:
        all_ids = lambda: (each.id for each in client.notifications(limit=1000).notifications)  # noqa: E731
        ids = [id_by_end("message", named, all_ids) for named in notification_ids]
    for each in ids:
        client.retry_notification(each)
    click.echo(f"{len(ids)} {'message waits' if len(ids) == 1 else 'messages wait'} to be sent")


@notifications.command()
@click.argument("url")
@json_option
@server_option
def test(client: Client, url: str, *, as_json: bool) -> None:
    """Send a test message to URL, and show how the receiver answers."""
    result = client.test_notification(url)
    if as_json:
        print_json(result)
    elif result.delivered:
        click.echo(f"delivered in {result.milliseconds} ms")
    if not result.delivered:
        raise CommandError(f"Not delivered: {clean(result.error).plain}", "")


@notifications.command("set")
@click.argument("targets", metavar="[[EVENT,...]URL]...", nargs=-1, type=NotifyParam())
@click.option("--none", is_flag=True, help="Remove your addresses; the server's apply.")
@server_option
def set_default(client: Client, targets: tuple[NotifyTarget, ...], *, none: bool) -> None:
    """Set the addresses of your tasks that name none themselves, or show them.

    EVENT is one of started, completed, failed, preempted, idle; completed and failed without any.
    """
    if none and targets:
        raise click.UsageError("Give addresses, or --none")
    if none or targets:
        _show(client.set_notification_settings(targets))
    else:
        _show(client.notification_settings())


def _show(settings: NotificationSettings) -> None:
    for each in settings.notify:
        events = ", ".join(enum_names(each, "on"))
        console().print(clean(f"{each.url} ({events})"))


@notifications.command()
@click.argument("url")
@click.option("--replace", is_flag=True, help="Replace all of your secrets first.")
@server_option
def secret(client: Client, url: str, *, replace: bool) -> None:
    """Print the secret that signs your webhooks to the host of URL.

    After --replace, webhooks carry signatures by the old secret too, for a day.
    """
    if replace:
        client.replace_webhook_secrets()
    click.echo(client.webhook_secret(url).secret)


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
