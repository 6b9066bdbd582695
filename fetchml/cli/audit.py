"""`fetchml audit`"""

import time

import click
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.param_types import Duration
from fetchml.cli.render import clean, local_time, print_json, show, table
from fetchml.client import Client, Rpc, to_json
from fetchml.v1 import audit_pb2


@click.command()
@click.option("--user", default="", metavar="NAME", help="Only what this user did.")
@click.option("--action", default="", metavar="ACTION", help="Only this, such as task.cancel.")
@click.option("--target", default="", metavar="ID", help="Only what was done to this id.")
@click.option("--since", type=Duration(), help="Only of the last 90s, 30m, 12h, 2d.")
@click.option("--before", default="", metavar="ID", help="Only what is older than this entry.")
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="Most to list."
)
@json_option
@server_option
def audit(
    client: Client,
    user: str,
    action: str,
    target: str,
    since: int | None,
    before: str,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """List who did what, newest first. For admins."""
    request = audit_pb2.ListAuditRequest(
        user_id=user, action=action, target=target, before=before, limit=limit
    )
    if since is not None:
        request.since.CopyFrom(Timestamp(seconds=max(0, int(time.time()) - since)))
    found = client.call(Rpc("AuditService/ListAudit", request, audit_pb2.AuditList))
    if as_json:
        print_json({"entries": [], **to_json(found)})
        return
    shown = table("WHEN", "USER", "FROM", "ACTION", "TARGET", "OUTCOME", "NOTE")
    for entry in found.entries:
        shown.add_row(
            local_time(entry.at),
            clean(entry.user_id),
            clean(entry.address),
            entry.action,
            clean(entry.target),
            entry.outcome,
            clean(entry.detail),
        )
    show(shown)
