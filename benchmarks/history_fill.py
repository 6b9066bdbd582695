"""A data directory with a past: written into the store's tables, since living it takes days."""

import time
from pathlib import Path

import msgspec

from fetchml.adapters.duckdb.database import open_database
from fetchml.adapters.duckdb.recovery import DatabaseFiles
from fetchml.core.model import Status, Task, TaskSpec

ID, CREATED_AT, ENDED_AT = "<id>", 111, 222
"""What stands in the JSON of the pattern for what differs from task to task."""

INSERT = f"""
    INSERT INTO tasks BY NAME
    SELECT *, replace(replace(replace($data, '{ID}', id), ':{CREATED_AT}', ':' || created_at),
                      ':{ENDED_AT}', ':' || coalesce(ended_at, 0)) AS data
    FROM (SELECT substr(ms, 1, 8) || '-' || substr(ms, 9) || '-7000-8000-' || printf('%012x', i)
                     AS id,
                 created_at, 'admin' AS usr, $status AS status, 'bench' AS job_name,
                 if($ended, created_at + 1000, NULL) AS ended_at, false AS hidden
          FROM (SELECT i, $first + 1000 * i AS created_at,
                       printf('%012x', $first + 1000 * i) AS ms
                FROM range($count) AS numbers(i)))
"""  # noqa: S608 - our own text


OLD_IDS = "SELECT id FROM tasks WHERE created_at < $1 ORDER BY hash(id) LIMIT $2"


def fill(data_dir: Path, *, ended: int, queued: int, ids: int) -> list[str]:
    """One task a second until now: first `ended` that have ended, then `queued` that wait.

    Gives `ids` of the former, from anywhere in the oldest quarter.
    """
    spec = TaskSpec("bench", "image", ("sleep", "600"), args="--epochs 5", cpu=1)
    task = Task(ID, "admin", spec, CREATED_AT)
    done = msgspec.structs.replace(
        task, status=Status.COMPLETED, attempt=1, ended_at=ENDED_AT, started_at=CREATED_AT
    )
    data_dir.mkdir(mode=0o700)
    database = open_database(DatabaseFiles.below(data_dir), memory_limit="1GB")
    cursor = database.cursor()
    start = time.time_ns() // 1_000_000 - 1000 * (ended + queued)
    for pattern, count, first in ((done, ended, start), (task, queued, start + 1000 * ended)):
        cursor.execute(
            INSERT,
            {
                "data": msgspec.json.encode(pattern).decode(),
                "status": pattern.status.value,
                "ended": pattern.ended_at is not None,
                "first": first,
                "count": count,
            },
        )
    old = cursor.execute(OLD_IDS, [start + 250 * ended, ids]).fetchall()
    database.checkpoint()
    database.close()
    return [str(task_id) for (task_id,) in old]
