"""`fetchml version`"""

import click

from fetchml import __version__
from fetchml.cli.connect import json_option
from fetchml.cli.parts import has_server
from fetchml.cli.render import print_json


@click.command()
@json_option
def version(*, as_json: bool) -> None:
    """Show the version of FetchML. If the server is installed, show the versions of DuckDB and the
    store's schema too, and the commit if known."""
    entries: dict[str, str | int] = {"version": __version__}
    if has_server():
        from fetchml.ops.versions import versions  # noqa: PLC0415  # it is part of the server

        entries = versions()
    if as_json:
        print_json(entries)
        return
    for name, value in entries.items():
        click.echo(f"{'fetchml' if name == 'version' else name} {value}")
