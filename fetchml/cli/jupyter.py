"""`fetchml jupyter`"""

import getpass
import time
import webbrowser
from contextlib import suppress
from typing import Any

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.render import clean, console, local_time, print_json, show, table
from fetchml.cli.submit import Int32
from fetchml.client import Client, JupyterServiceInfo, RateLimited, Unavailable, to_json

LOOK_AGAIN_SECONDS = 0.5
ENDED = frozenset({JupyterServiceInfo.stopped, JupyterServiceInfo.error})


@click.group()
def jupyter() -> None:
    """Work in JupyterLab on the server's machine, in a container of your own.

    \b
    fetchml jupyter start --open                open it in the browser
    fetchml jupyter start --workspace team --gpu 1
    fetchml jupyter ls
    fetchml jupyter stop ID
    """


@jupyter.command()
@click.option("--name", "-n", metavar="NAME", help="Default: your name on this machine.")
@click.option(
    "--workspace", "-w", metavar="FOLDER", help="Folder to work in; it stays. Default: the name."
)
@click.option("--image", metavar="IMAGE", help="Container image with JupyterLab.")
@click.option("--cpu", type=Int32(), metavar="CORES", help="CPU cores.")
@click.option(
    "--memory-gb", type=Int32(), metavar="GIB", help="Memory; more than that ends the service."
)
@click.option("--gpu", type=Int32(), metavar="N", help="GPUs.")
@click.option("--open", "opens", is_flag=True, help="Open the link in this machine's browser.")
@click.option("--no-wait", is_flag=True, help="Print the link at once: its page waits, too.")
@json_option
@server_option
def start(
    client: Client, name: str | None, *, opens: bool, no_wait: bool, as_json: bool, **asked: Any
) -> None:
    """Start JupyterLab, and print its link once it answers.

    Who has the link can use it: it holds the service's token.
    """
    given: Any = {field: value for field, value in asked.items() if value is not None}
    try:
        service = client.start_jupyter(name if name is not None else _user(), **given)
    except ValueError as error:
        # Text that is not UTF-8, in protobuf's words.
        raise click.UsageError(str(error)) from error
    if not no_wait:
        service = _answering(client, service)
    if as_json:
        print_json(service)
    else:
        click.echo(link(service))
    if opens and not webbrowser.open(link(service)):
        raise CommandError("No browser could be opened here", "Open the link above in one.")


@jupyter.command()
@json_option
@server_option
def ls(client: Client, *, as_json: bool) -> None:
    """List Jupyter services, newest first."""
    found = client.list_jupyter()
    if as_json:
        print_json({"services": [to_json(each) for each in found]})
        return
    shown = table("ID", "NAME", "STATUS", "USER", "WORKSPACE", "STARTED", "LAST USED", "NOTE")
    for each in found:
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
    show(shown)


@jupyter.command("show")
@click.argument("service_id")
@json_option
@server_option
def show_one(client: Client, service_id: str, *, as_json: bool) -> None:
    """Show all about a Jupyter service, with its link if it is yours."""
    found = client.get_jupyter(service_id)
    if as_json:
        print_json(found)
        return
    lines = {
        "id": found.id,
        "name": found.name,
        "status": status_name(found),
        "note": note(found),
        "link": link(found) if found.token else "",
        "user": found.user_id,
        "image": found.image,
        "workspace": found.workspace,
        "cpu": str(found.cpu) if found.HasField("cpu") else "",
        "memory": f"{found.memory_gb} GiB" if found.HasField("memory_gb") else "",
        "gpu": str(found.gpu) if found.HasField("gpu") else "",
        "made": local_time(found.created_at),
        "started": local_time(found.started_at) if found.HasField("started_at") else "",
        "last used": local_time(found.last_activity) if found.HasField("last_activity") else "",
        "ended": local_time(found.ended_at) if found.HasField("ended_at") else "",
    }
    shown = table("", "")
    shown.show_header = False
    for name, value in lines.items():
        if value:
            shown.add_row(name, clean(value))
    show(shown)


@jupyter.command()
@click.argument("service_ids", nargs=-1, required=True)
@server_option
def stop(client: Client, service_ids: tuple[str, ...]) -> None:
    """Stop Jupyter services. Their workspaces stay."""
    for service_id in service_ids:
        client.stop_jupyter(service_id)
        click.echo(f"{service_id} is asked to stop")


def link(service: JupyterServiceInfo) -> str:
    return f"{service.url}lab?token={service.token}"


def status_name(service: JupyterServiceInfo) -> str:
    return JupyterServiceInfo.Status.Name(service.status)


def note(service: JupyterServiceInfo) -> str:
    """What there is to say beside the status."""
    if service.HasField("stops_at"):
        return f"idle: it will be stopped at {local_time(service.stops_at)}"
    return service.reason


def _answering(client: Client, service: JupyterServiceInfo) -> JupyterServiceInfo:
    """The service, once it answers. Ctrl-C raises click's Exit and leaves it alone.

    Raises CommandError.
    """
    out = console(stderr=True)
    said = ""
    try:
        with out.status("") as line:
            while service.status != JupyterServiceInfo.running:
                if service.status in ENDED or service.status == JupyterServiceInfo.stopping:
                    raise CommandError(f"{service.id} {status_name(service)}: {service.reason}")
                now = f"{service.name} {status_name(service)}: {service.reason}"
                if out.is_terminal:
                    line.update(clean(now))
                elif now != said:
                    click.echo(clean(now).plain, err=True)
                said = now
                time.sleep(LOOK_AGAIN_SECONDS)
                service = _looked_at(client, service)
    except KeyboardInterrupt:
        click.echo(
            f"\nIt goes on. Its link: fetchml jupyter show {service.id}\n"
            f"Stop it: fetchml jupyter stop {service.id}",
            err=True,
        )
        raise click.exceptions.Exit(ExitCode.INTERRUPTED) from None
    return service


def _looked_at(client: Client, service: JupyterServiceInfo) -> JupyterServiceInfo:
    """As it is now; as it was while the server is away, for it goes on."""
    try:
        return client.get_jupyter(service.id)
    except (RateLimited, Unavailable):
        return service


def _user() -> str:
    with suppress(Exception):  # It has no name here: what is raised differs by release.
        return getpass.getuser()
    return "jupyter"
