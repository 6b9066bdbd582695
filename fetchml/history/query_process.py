"""The process that runs one query of a user: `python -m fetchml.history.query_process`.

It reads Parquet files that hold only what the user may see, in its working directory, which it
removes from there as soon as it has opened them. It can open nothing else by SQL: DuckDB has no
file access beyond these descriptors, no extensions, and settings that are locked. The kernel limits
its memory, its processor time and what it writes, and ends it with its parent.

It gets one JSON object a line on stdin, and answers each by one on stdout: the query by the names
of the tables in it, then `{}`, when their files are there, by `{}` when the file RESULT is written.
An `error` in an answer is the last; its text is for the user.
"""

import ctypes
import json
import math
import os
import re
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

RESULT = "result"
SECONDS = 30
"""Longest time of a query."""
MEMORY_MB = 768
"""DuckDB's memory. The process may have twice as much address space."""
MAX_ROWS = 10_000
MAX_ROWS_BYTES = 8 << 20
"""Of a result in JSON."""
MAX_FILE_BYTES = 256 << 20
"""Of a result as a file."""
MAX_NAMES = 100
MAX_NAME = 200
MAX_ERROR = 2_000
ROWS_AT_ONCE = 500
NICE = 10
_TIME = "TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%S.%gZ'"
FORMATS: Mapping[str, str] = {
    "parquet": "FORMAT parquet, COMPRESSION zstd",
    "csv": f"FORMAT csv, HEADER true, {_TIME}",
    "json": f"FORMAT json, ARRAY true, {_TIME}",
}
"""Of files, by their names, each with DuckDB's options."""
_PR_SET_PDEATHSIG = 1
_SAFE_INTEGER = 1 << 63

ONE_SELECT = "must be one SELECT statement"
NO_PIVOT = "PIVOT needs the list of its values: PIVOT … ON column IN (…)"
TOO_MUCH_MEMORY = (
    f"the query needs more than {MEMORY_MB} MiB of memory: narrow it or aggregate more"
)
TOO_LARGE = f"the result is larger than {MAX_FILE_BYTES >> 20} MiB: narrow it or aggregate more"
INTERVAL_TOO_LONG = "the result has an interval of more than 999,999,999 days: cast it to text"

CONFIG: Mapping[str, Any] = {
    "memory_limit": f"{MEMORY_MB}MiB",
    "threads": 1,
    "temp_directory": "",
    "max_temp_directory_size": "0B",
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_persistent_secrets": False,
    # Names of folders of the host would appear in errors.
    "home_directory": "/",
    "extension_directory": "/",
    "secret_directory": "/",
}


class _Refused(Exception):
    """The message is for the user."""


def main() -> None:
    confine(2 * MEMORY_MB << 20, 2 * SECONDS)
    try:
        _answer()
    except _Refused as refused:
        _say({"error": str(refused)[:MAX_ERROR]})
    except (duckdb.OutOfMemoryException, MemoryError):
        _say({"error": TOO_MUCH_MEMORY})
    except OverflowError:
        _say({"error": INTERVAL_TOO_LONG})
    except duckdb.Error as error:
        too_large = "File too large" in str(error)
        _say({"error": TOO_LARGE if too_large else _message(error)})
    # Without the destructors: after a failed allocation they may wait for each other.
    sys.stdout.flush()
    os._exit(0)


def confine(memory: int, seconds: int) -> None:
    """Limit this process, and end it with its parent. `memory`: bytes of address space. `seconds`:
    processor time."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    os.nice(NICE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for limit, wanted in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, MAX_FILE_BYTES),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(limit)
        value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(limit, (value, value))


def _answer() -> None:
    asked = _hear()
    # A database of its own: to find the names, DuckDB calls functions such as `read_json`.
    with duckdb.connect(config=dict(CONFIG)) as connection:
        _close(connection, [])
        statement = _only_select(connection, asked["sql"])
        names = sorted(connection.get_table_names(asked["sql"]))
    if len(names) > MAX_NAMES:
        raise _Refused(f"the query names more than {MAX_NAMES} tables")
    _say({"views": [name[:MAX_NAME] for name in names]})
    result = _open(RESULT, os.O_RDWR)
    _hear()
    connection = duckdb.connect(config=dict(CONFIG))
    opened = _attach(connection, names)
    _close(connection, [result, *opened])
    if asked["form"] is None:
        _write_rows(connection, statement, result)
    else:
        _write_file(connection, statement, result, FORMATS[asked["form"]])
    _say({})


def _only_select(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    statements = connection.extract_statements(sql)
    if len(statements) == 1 and statements[0].type == duckdb.StatementType.MULTI:
        raise _Refused(NO_PIVOT)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise _Refused(ONE_SELECT)
    return statements[0]


def _open(name: str, flags: int) -> str:
    """Open a file of the working directory and remove it from there. Returns a path of it that
    shows nothing of the host."""
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    Path(name).unlink()
    return f"/proc/self/fd/{fd}"


def _attach(connection: duckdb.DuckDBPyConnection, views: Sequence[str]) -> list[str]:
    """Make a view of each file. Returns the paths."""
    opened = []
    for view in {view.lower() for view in views}:
        opened.append(_open(view, os.O_RDONLY))
        connection.execute(f"CREATE VIEW {view} AS FROM read_parquet('{opened[-1]}')")
    return opened


def _close(connection: duckdb.DuckDBPyConnection, allowed: Sequence[str]) -> None:
    """Deny everything but these files from now on."""
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET allowed_paths = {list(allowed)}")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _write_file(
    connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement, path: str, options: str
) -> None:
    query = connection.sql(statement)
    query.create_view("result", replace=False)
    columns, taken = list[str](), set[str]()
    for number, (name, kind) in enumerate(zip(query.columns, query.types, strict=True)):
        # Parquet has no integer that is so long, and would get a double.
        cast = "::DECIMAL(38, 0)" if str(kind) in ("HUGEINT", "UHUGEINT") else ""
        columns.append(f"c{number}{cast} AS {_quoted(_new_name(name, taken))}")
    places = ", ".join(f"c{number}" for number in range(len(columns)))
    connection.execute(
        f"COPY (SELECT {', '.join(columns)} FROM result AS result({places})) "  # noqa: S608
        f"TO '{path}' ({options}, USE_TMP_FILE false)"
    )


def _new_name(name: str, taken: set[str]) -> str:
    unique, number = name, 0
    while unique.lower() in taken:
        number += 1
        unique = f"{name}_{number}"
    taken.add(unique.lower())
    return unique


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _write_rows(
    connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement, path: str
) -> None:
    query = connection.sql(statement).limit(MAX_ROWS + 1)
    columns = [
        {"name": name, "type": str(kind)}
        for name, kind in zip(query.columns, query.types, strict=True)
    ]
    rows, size, cut = list[str](), 0, False
    for row in query.iter_rows(ROWS_AT_ONCE):
        text = json.dumps([_plain(value) for value in row], ensure_ascii=False)
        size += len(text.encode())
        cut = len(rows) == MAX_ROWS or size > MAX_ROWS_BYTES
        if cut:
            break
        rows.append(text)
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - of /proc
        head = json.dumps({"cut": cut, "columns": columns}, ensure_ascii=False)
        file.write(f'{head[:-1]}, "rows": [{",".join(rows)}]}}')


def _plain(value: Any) -> Any:
    """Return the value as JSON has it."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if -_SAFE_INTEGER <= value < _SAFE_INTEGER else str(value)
        case float():
            return value if math.isfinite(value) else _not_finite(value)
        case Decimal():
            return _plain(int(value) if value == value.to_integral_value() else float(value))
        case datetime():
            return f"{value.replace(tzinfo=None).isoformat()}Z"
        case date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes():
            return value.hex()
        case dict():
            return {str(_plain(key)): _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
    return str(value)


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _message(error: duckdb.Error) -> str:
    """Return DuckDB's message without what concerns its settings."""
    text = re.sub(r"^(\w+ )+Error: ", "", str(error).strip())
    if isinstance(error, duckdb.PermissionException):
        text = "a query reads the documented views only, no files"
    return text[:MAX_ERROR]


def _hear() -> Any:
    line = sys.stdin.readline()
    if not line:
        os._exit(0)
    return json.loads(line)


def _say(answer: Mapping[str, object]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
