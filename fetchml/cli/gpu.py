"""`fetchml gpu drain|undrain`"""

from collections.abc import Sequence

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.gpus import short, state_name
from fetchml.cli.render import clean, print_json
from fetchml.client import Client, Gpu


@click.group()
def gpu() -> None:
    """Take GPUs out of use, and put them back to work. For admins.

    GPU is the number that 'fetchml gpus' shows, or how its UUID begins.
    """


@gpu.command()
@click.argument("gpus", metavar="GPU…", nargs=-1, required=True)
@json_option
@server_option
def drain(client: Client, gpus: tuple[str, ...], *, as_json: bool) -> None:
    """Start nothing more on GPUs, until they are undrained. What runs on them goes on."""
    found = client.gpus().gpus
    for chosen in [find(found, named) for named in gpus]:
        drained = client.drain_gpu(chosen.uuid)
        if as_json:
            print_json(drained)
        elif drained.task_ids:
            ids = ", ".join(drained.task_ids)
            click.echo(_told(drained, f"is drained; it is still used by {ids}"))
        else:
            click.echo(_told(drained, "is drained"))


@gpu.command()
@click.argument("gpus", metavar="GPU…", nargs=-1, required=True)
@json_option
@server_option
def undrain(client: Client, gpus: tuple[str, ...], *, as_json: bool) -> None:
    """Put drained GPUs back to work. The errors that they have had so far count no more."""
    found = client.gpus().gpus
    for chosen in [find(found, named) for named in gpus]:
        back = client.undrain_gpu(chosen.uuid)
        if as_json:
            print_json(back)
        elif back.reason:
            click.echo(
                _told(back, f"is no longer drained, but nothing starts on it: {back.reason}")
            )
        else:
            click.echo(_told(back, f"is back at work: {state_name(back)}"))


def find(found: Sequence[Gpu], named: str) -> Gpu:
    """By its number, or by how its UUID begins. Raises CommandError."""
    by_number = [gpu for gpu in found if str(gpu.number) == named]
    if by_number:
        return by_number[0]
    wanted = named.casefold()
    begins = [gpu for gpu in found if wanted and gpu.uuid.casefold().startswith(wanted)]
    whole = [gpu for gpu in begins if gpu.uuid.casefold() == wanted]
    match whole or begins:
        case [only]:
            return only
        case []:
            raise CommandError(
                f"There is no GPU {clean(named).plain}",
                "'fetchml gpus' lists them: give a number, or how a UUID begins.",
                ExitCode.NOT_FOUND,
            )
        case several:
            numbers = ", ".join(str(gpu.number) for gpu in several)
            raise CommandError(
                f"Several GPUs begin with {clean(named).plain}: {numbers}",
                "Give more of the UUID, or the number.",
                ExitCode.USAGE,
            )


def _told(gpu: Gpu, what: str) -> str:
    return clean(f"GPU {gpu.number} ({short(gpu.uuid)}, {gpu.name or 'no name'}) {what}").plain
