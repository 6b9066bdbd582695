"""`fetchml jupyter`"""

import getpass
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import click

from fetchml.cli.connect import RetryNotice, json_option, server_option, valid_text
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.groups import CommandGroup
from fetchml.cli.ids import id_by_end
from fetchml.cli.list_options import Output, output_option, print_list
from fetchml.cli.param_types import Int32
from fetchml.cli.render import (
    can_redraw,
    clean,
    console,
    local_time,
    print_json,
    print_result,
    show_details,
)
from fetchml.cli.tables import FittedTable, table
from fetchml.cli.ui import open_link
from fetchml.client import Client, JupyterServiceInfo, RateLimited, Unavailable, enum_name, to_json

POLL_SECONDS = 0.5
LAST_WORDS_SECONDS = 10
ENDED = frozenset({JupyterServiceInfo.stopped, JupyterServiceInfo.error})


@click.group(cls=CommandGroup)
def jupyter() -> None:
    """Run JupyterLab on the server's machine, in a container.

    \b
    Examples:
      fetchml jupyter start --open
      fetchml jupyter start --workspace team --gpu 1
      fetchml jupyter ls
      fetchml jupyter stop ID
    """


@jupyter.command()
@click.option("--name", "-n", metavar="NAME", help="Name of the service. Default: your user name.")
@click.option(
    "--workspace",
    "-w",
    metavar="FOLDER",
    help="Folder to work in, kept when the service stops. Default: the name.",
)
@click.option("--image", metavar="IMAGE", help="Container image with JupyterLab.")
@click.option("--cpu", type=Int32(), metavar="CORES", help="CPU cores.")
@click.option(
    "--memory-gb", type=Int32(), metavar="GIB", help="Memory limit. Exceeding it ends the service."
)
@click.option("--gpu", type=Int32(), metavar="N", help="GPUs.")
@click.option("--open", "opens", is_flag=True, help="Open the link in a browser here.")
@click.option("--no-wait", is_flag=True, help="Print the link before JupyterLab answers.")
@json_option
@server_option
def start(
    client: Client, name: str | None, *, opens: bool, no_wait: bool, as_json: bool, **asked: Any
) -> None:
    """Start JupyterLab, and print its link once it answers.

    The link contains the service's token: anyone with the link can use the service.
    """
    fields: Any = {field: value for field, value in asked.items() if value is not None}
    with valid_text():
        service = client.start_jupyter(name if name is not None else _user(), **fields)
    if not no_wait:
        service = _answering(client, service)
    print_result(service, link(service), as_json=as_json)
    if opens:
        open_link(link(service))


@jupyter.command()
@output_option
@server_option
def ls(client: Client, output: Output) -> None:
    """List Jupyter services, newest first."""
    services = client.list_jupyter()
    whole = {"services": [to_json(each) for each in services]}
    print_list(output, whole, services, lambda: _table(services))


def _table(services: Iterable[JupyterServiceInfo]) -> FittedTable:
    columns = ("ID", "NAME", "STATUS", "USER", "WORKSPACE", "STARTED", "LAST USED", "NOTE")
    shown = table(*columns, spare=("STARTED", "LAST USED", "USER", "WORKSPACE"))
    for each in services:
        shown.add_row(
            each.id,
            clean(each.name),
            status_name(each),
            clean(each.user_id),
            clean(each.workspace),
            local_time(each.created_at),
            local_time(each.last_activity) if each.HasField("last_activity") else "",
            clean(note(each)),
        )
    return shown


@jupyter.command("show")
@click.argument("service_id")
@json_option
@server_option
def show_one(client: Client, service_id: str, *, as_json: bool) -> None:
    """Show one Jupyter service, with its link if it is yours."""
    service = client.get_jupyter(_id_of(client, service_id))
    if as_json:
        print_json(service)
        return
    lines = {
        "id": service.id,
        "name": service.name,
        "status": status_name(service),
        "note": note(service),
        "link": link(service) if service.token else "",
        "user": service.user_id,
        "image": service.image,
        "workspace": service.workspace,
        "cpu": str(service.cpu) if service.HasField("cpu") else "",
        "memory": f"{service.memory_gb} GiB" if service.HasField("memory_gb") else "",
        "gpu": str(service.gpu) if service.HasField("gpu") else "",
        "made": local_time(service.created_at),
        "started": local_time(service.started_at) if service.HasField("started_at") else "",
        "last used": local_time(service.last_activity) if service.HasField("last_activity") else "",
        "ended": local_time(service.ended_at) if service.HasField("ended_at") else "",
    }
    show_details(lines.items())


@jupyter.command()
@click.argument("service_ids", nargs=-1, required=True)
@server_option
def stop(client: Client, service_ids: tuple[str, ...]) -> None:
    """Stop Jupyter services. Their workspaces are kept."""
    for service_id in [_id_of(client, named) for named in service_ids]:
        client.stop_jupyter(service_id)
        click.echo(f"{service_id} is stopping")


def _id_of(client: Client, named: str) -> str:
    return id_by_end("service", named, lambda: (each.id for each in client.list_jupyter()))


def link(service: JupyterServiceInfo) -> str:
    return f"{service.url}lab?token={service.token}"


def status_name(service: JupyterServiceInfo) -> str:
    return enum_name(service, "status")


def note(service: JupyterServiceInfo) -> str:
    """Return the details of the status: when an idle service stops, else the reason."""
    if service.HasField("stops_at"):
        return f"idle, stops at {local_time(service.stops_at)}"
    return service.reason


def _with_last_words(
    client: Client, service: JupyterServiceInfo, notice: RetryNotice
) -> JupyterServiceInfo:
    """Look until a service that ended by itself shows its last words: the server reads them a
    moment after the end. There may be none."""
    give_up = time.monotonic() + LAST_WORDS_SECONDS
    while service.reason.startswith("Jupyter ") and ": " not in service.reason:
        if time.monotonic() > give_up:
            break
        time.sleep(POLL_SECONDS)
        service = _refreshed(client, service, notice)
    return service


def _answering(client: Client, service: JupyterServiceInfo) -> JupyterServiceInfo:
    """Wait until a service responds. Ctrl-C raises click's Exit and leaves the service running.

    Raises CommandError.
    """
    out = console(stderr=True)
    shown, notice = "", RetryNotice()
    try:
        with out.status("") as line:
            while service.status != JupyterServiceInfo.running:
                if service.status in ENDED or service.status == JupyterServiceInfo.stopping:
                    service = _with_last_words(client, service, notice)
                    raise CommandError(f"{service.id} {status_name(service)}: {service.reason}")
                now = f"{service.name} {status_name(service)}: {service.reason}"
                if can_redraw(out):
                    line.update(clean(now))
                elif now != shown:
                    click.echo(clean(now).plain, err=True)
                shown = now
                time.sleep(POLL_SECONDS)
                service = _refreshed(client, service, notice)
    except KeyboardInterrupt:
        click.echo(
            f"\nThe service continues. Show its link: fetchml jupyter show {service.id}\n"
            f"Stop it: fetchml jupyter stop {service.id}",
            err=True,
        )
        raise click.exceptions.Exit(ExitCode.INTERRUPTED) from None
    return service


def _refreshed(
    client: Client, service: JupyterServiceInfo, notice: RetryNotice
) -> JupyterServiceInfo:
    """Return the service as it is now, or unchanged while the server is unreachable."""
    try:
        jupyter = client.get_jupyter(service.id)
    except (RateLimited, Unavailable) as failed:
        notice(failed)
        return service
    notice.restored()
    return jupyter


def _user() -> str:
    with suppress(Exception):  # The uid has no name here. The exception differs by Python release.
        return getpass.getuser()
    return "jupyter"
