"""`fetchml gpu drain|undrain`"""

from collections.abc import Sequence

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.gpus import short, state_name
from fetchml.cli.groups import CommandGroup
from fetchml.cli.render import clean, print_json
from fetchml.client import Client, Gpu


@click.group(cls=CommandGroup)
def gpu() -> None:
    """Drain GPUs, and put them back in service. For admins.

    GPU is a number from 'fetchml gpus', or the start of a UUID.

    \b
    Examples:
      fetchml gpu drain 3
      fetchml gpu undrain 3
    """


@gpu.command()
@click.argument("gpus", metavar="GPU…", nargs=-1, required=True)
@json_option
@server_option
def drain(client: Client, gpus: tuple[str, ...], *, as_json: bool) -> None:
    """Start nothing more on GPUs until they are undrained.

    Tasks on them continue.
    """
    found = client.gpus().gpus
    for chosen in [find(found, named) for named in gpus]:
        drained = client.drain_gpu(chosen.uuid)
        if as_json:
            print_json(drained)
        elif drained.task_ids:
            ids = ", ".join(drained.task_ids)
            click.echo(_about(drained, f"is drained; it is still used by {ids}"))
        else:
            click.echo(_about(drained, "is drained"))


@gpu.command()
@click.argument("gpus", metavar="GPU…", nargs=-1, required=True)
@json_option
@server_option
def undrain(client: Client, gpus: tuple[str, ...], *, as_json: bool) -> None:
    """Put drained GPUs back in service.

    Marks them healthy and clears their recorded errors.
    """
    found = client.gpus().gpus
    for chosen in [find(found, named) for named in gpus]:
        back = client.undrain_gpu(chosen.uuid)
        if as_json:
            print_json(back)
        elif back.reason:
            click.echo(
                _about(back, f"is no longer drained, but nothing starts on it: {back.reason}")
            )
        else:
            click.echo(_about(back, f"is back in service: {state_name(back)}"))


def find(found: Sequence[Gpu], named: str) -> Gpu:
    """Return the GPU with a number or a start of a UUID. Raises CommandError."""
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
                "Give a number or the start of a UUID, as listed by 'fetchml gpus'.",
                ExitCode.NOT_FOUND,
            )
        case several:
            numbers = ", ".join(str(gpu.number) for gpu in several)
            raise CommandError(
                f"Several UUIDs start with {clean(named).plain}: GPUs {numbers}",
                "Give more of the UUID, or a number.",
                ExitCode.USAGE,
            )


def _about(gpu: Gpu, what: str) -> str:
    return clean(f"GPU {gpu.number} ({short(gpu.uuid)}, {gpu.name or 'no name'}) {what}").plain
