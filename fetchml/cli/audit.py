"""`fetchml audit`"""

import time
from contextlib import suppress

import click
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.cli.connect import server_option
from fetchml.cli.errors import CommandError
from fetchml.cli.ids import WHOLE, short, task_id_of
from fetchml.cli.list_options import Output, limit_option, output_option, print_list
from fetchml.cli.param_types import Duration
from fetchml.cli.render import clean, has_narrow_terminal, local_time
from fetchml.cli.tables import FittedTable, table
from fetchml.client import Client, Rpc, to_json
from fetchml.v1 import audit_pb2


@click.command()
@click.option("--user", default="", metavar="NAME", help="Show only this user's actions.")
@click.option(
    "--action", default="", metavar="ACTION", help="Show only this action, such as task.cancel."
)
@click.option("--target", default="", metavar="ID", help="Show only actions on this id.")
@click.option("--since", type=Duration(), help="Show only the last 90s, 30m, 12h, 2d.")
@click.option("--before", default="", metavar="ID", help="Show only entries before this one.")
@limit_option("Show at most N entries", default=50, least=1)
@output_option
@server_option
def audit(
    client: Client,
    user: str,
    action: str,
    target: str,
    since: int | None,
    before: str,
    limit: int,
    output: Output,
) -> None:
    """List the actions of all users, newest first. For admins.

    \b
    Example:
      fetchml audit --user ada --since 2d
    """
    if target:
        # It may be another kind of target, or that of a task which is gone.
        with suppress(CommandError):
            target = task_id_of(client, target)
    request = audit_pb2.ListAuditRequest(
        user_id=user, action=action, target=target, before=before, limit=limit
    )
    if since is not None:
        request.since.CopyFrom(Timestamp(seconds=max(0, int(time.time()) - since)))
    reply = client.call(Rpc("AuditService/ListAudit", request, audit_pb2.AuditList))
    whole = {"entries": [], **to_json(reply)}
    print_list(output, whole, reply.entries, lambda: _table(reply, wide=output.kind == "wide"))


def _table(audit: audit_pb2.AuditList, *, wide: bool) -> FittedTable:
    short_ids = not wide and has_narrow_terminal()
    columns = ("WHEN", "USER", "FROM", "ACTION", "TARGET", "OUTCOME", "NOTE")
    shown = table(*columns, spare=("FROM", "NOTE", "OUTCOME"))
    for entry in audit.entries:
        target = entry.target
        if short_ids and WHOLE.fullmatch(target):
            target = short(target)
        shown.add_row(
            local_time(entry.at),
            clean(entry.user_id),
            clean(entry.address),
            entry.action,
            clean(target),
            entry.outcome,
            clean(entry.detail),
        )
    return shown
