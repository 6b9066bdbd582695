"""`fetchml sql` and `fetchml export`"""

import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import duckdb
from rich.table import Table

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.errors import CommandError
from fetchml.cli.render import clean, counted, show
from fetchml.client import Client

MOST_SHOWN = 1_000
"""Rows of a table on a terminal."""
AS_JSON = "FORMAT json, ARRAY true, TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%S.%gZ'"
AS_CSV = "FORMAT csv, HEADER true, TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%S.%gZ'"


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
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.parquet"
        _save(result, client.query(text))
        with _opened(result) as connection:
            if as_json or as_csv:
                _print(connection, Path(folder) / "text", AS_JSON if as_json else AS_CSV)
            else:
                _show(connection)


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


@contextmanager
def _opened(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        quoted = str(file).replace("'", "''")
        connection.execute(f"CREATE VIEW result AS FROM read_parquet('{quoted}')")
        yield connection


def _print(connection: duckdb.DuckDBPyConnection, file: Path, form: str) -> None:
    quoted = str(file).replace("'", "''")
    connection.execute(f"COPY result TO '{quoted}' ({form})")
    with file.open("rb") as text:
        shutil.copyfileobj(text, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def _show(connection: duckdb.DuckDBPyConnection) -> None:
    result = connection.sql("FROM result")
    shown = Table(box=None, pad_edge=False, header_style="bold")
    numbers = ("INT", "DOUBLE", "DECIMAL", "FLOAT")
    for name, kind in zip(result.columns, result.types, strict=True):
        is_number = str(kind).rstrip("0123456789").startswith(numbers) or "INT" in str(kind)
        shown.add_column(clean(name), justify="right" if is_number else "left", no_wrap=True)
    for row in result.limit(MOST_SHOWN).fetchall():
        shown.add_row(*(clean(_cell(value)) for value in row))
    show(shown)
    [(rows,)] = connection.execute("SELECT count(*) FROM result").fetchall()
    if rows > MOST_SHOWN:
        more = counted(rows - MOST_SHOWN, "row")
        click.echo(f"{more} more: use --csv, --json or --parquet.", err=True)


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
