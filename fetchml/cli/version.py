"""`fetchml version`"""

import click

from fetchml.cli.connect import json_option
from fetchml.cli.render import print_json
from fetchml.ops.versions import versions


@click.command()
@json_option
def version(*, as_json: bool) -> None:
    """Show the versions of FetchML, DuckDB and the store's schema, and the commit if known."""
    entries = versions()
    if as_json:
        print_json(entries)
        return
    for name, value in entries.items():
        click.echo(f"{'fetchml' if name == 'version' else name} {value}")
