"""`fetchml sql` and `fetchml export`"""

import sys
from collections.abc import Iterable
from pathlib import Path

import click
from google.protobuf.json_format import MessageToDict
from rich.table import Table

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.errors import CommandError
from fetchml.cli.render import clean, show
from fetchml.client import Client
from fetchml.v1.history_pb2 import QueryHistoryRowsResponse

MOST_SHOWN = 1_000
"""Rows of a table on a terminal."""
NUMBERS = ("TINY", "SMALL", "INTEGER", "BIG", "HUGE", "U", "DOUBLE", "DECIMAL", "FLOAT")
"""How the names of DuckDB's types of numbers begin."""


@click.command()
@click.argument("sql", metavar="SQL")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option(
    "--parquet",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a Parquet file.",
)
@server_option
def sql(client: Client, sql: str, parquet: Path | None, *, as_json: bool, as_csv: bool) -> None:
    """Query everything that ever ran.

    SQL is one SELECT statement of DuckDB's dialect, or - to read it from the standard input.
    docs/history.md describes the views that it reads. Times are in UTC.

    \b
    Examples:
      fetchml sql "SELECT status, count(*) FROM tasks GROUP BY status"
      echo "SELECT * FROM usage" | fetchml sql --csv - > usage.csv
      fetchml sql "SELECT * FROM metrics" --parquet metrics.parquet
    """
    if as_json + as_csv + (parquet is not None) > 1:
        raise click.UsageError("Give one of --json, --csv and --parquet.")
    text = sys.stdin.read() if sql == "-" else sql
    if parquet is not None:
        _save(parquet, client.query(text))
        click.echo(f"{parquet} is written.", err=True)
        return
    if as_json or as_csv:
        for piece in client.query(text, form="json" if as_json else "csv"):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    else:
        _show(client.query_rows(text))


@click.command()
@click.option(
    "--parquet",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="FOLDER",
    help="Write a Parquet file for each view into this folder.",
)
@server_option
def export(client: Client, folder: Path) -> None:
    """Take the history away as Parquet files.

    Each view of docs/history.md becomes a file, with everything that you may see.

    \b
    Example:
      fetchml export --parquet history
    """
    folder.mkdir(parents=True, exist_ok=True)
    for view in client.history_views():
        file = folder / f"{view.name}.parquet"
        _save(file, client.export_view(view.name))
        click.echo(f"{file} is written.")


def _save(file: Path, pieces: Iterable[bytes]) -> None:
    """Write the file once all of it has come."""
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        with unfinished.open("wb") as opened:
            for piece in pieces:
                opened.write(piece)
        unfinished.replace(file)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _show(result: QueryHistoryRowsResponse) -> None:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in result.columns:
        shown.add_column(
            clean(column.name),
            justify="right" if _is_number(column.type) else "left",
            no_wrap=True,
        )
    kinds = [column.type for column in result.columns]
    for row in result.rows[:MOST_SHOWN]:
        cells = zip(MessageToDict(row), kinds, strict=True)
        shown.add_row(*(clean(_cell(value, kind)) for value, kind in cells))
    show(shown)
    if result.cut or len(result.rows) > MOST_SHOWN:
        more = f"Only the first {MOST_SHOWN:,} rows: use --csv, --json or --parquet."
        click.echo(more, err=True)


def _is_number(kind: str) -> bool:
    return kind.startswith(NUMBERS) and kind != "UUID" and not kind.endswith("]")


def _cell(value: object, kind: str) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if kind in ("DOUBLE", "FLOAT") else f"{value:.15g}"
    if kind == "TIMESTAMP" and isinstance(value, str):
        return value[:19].replace("T", " ")
    return "" if value is None else str(value)
