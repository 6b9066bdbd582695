"""The tables of the store, and the migrations that lead to them.

Three things are kept. The `journal` makes a change durable: append-only, without a key, so that a
commit is one write. `tasks` holds the latest state of every task and is folded from the journal a
moment later; the part that is not folded yet is the journal's *tail*. `idempotency`, `keys` and
`documents` are small. `audit` has actions and their actors; the creation of a task is in `tasks`
only.

The history of use is written behind: samples in `task_usage` and `gpu_usage`, their averages by
the hour in `task_hours` and `gpu_hours`, who held which GPU in `gpu_holds`, sums in `user_days`.

Runs are in `runs`, `params`, `tags` and `series`, their metrics in `points`, which is a journal of
its own: appended before the answer, and folded into `series` a moment later.

Data are JSON of `core.model`; the other columns of `tasks` are copies of the fields that queries
search by. A service is a `hidden` row: readers of tasks and the statistics leave it out.
"""

from collections.abc import Sequence

MIGRATIONS: Sequence[str] = (
    # 1: the first schema. `usr`: `user` is a reserved word.
    """
    CREATE TABLE meta (schema_version INTEGER NOT NULL, instance_id VARCHAR NOT NULL,
                       folded_seq BIGINT NOT NULL);
    CREATE TABLE journal (seq BIGINT NOT NULL, at_ms BIGINT NOT NULL, task_id VARCHAR NOT NULL,
                          data VARCHAR NOT NULL);
    CREATE TABLE tasks (id VARCHAR PRIMARY KEY, created_at BIGINT NOT NULL, usr VARCHAR NOT NULL,
                        status VARCHAR NOT NULL, job_name VARCHAR NOT NULL,
                        experiment_id VARCHAR, ended_at BIGINT, hidden BOOLEAN NOT NULL,
                        data VARCHAR NOT NULL);
    CREATE TABLE idempotency (usr VARCHAR, key VARCHAR, task_id VARCHAR NOT NULL,
                              digest VARCHAR NOT NULL, created_at BIGINT NOT NULL,
                              PRIMARY KEY (usr, key));
    CREATE TABLE keys (id VARCHAR PRIMARY KEY, data VARCHAR NOT NULL);
    INSERT INTO meta VALUES (0, uuid()::VARCHAR, 0);
    """,
    # 2: documents, for small collections.
    """
    CREATE TABLE documents (kind VARCHAR, id VARCHAR, data BLOB NOT NULL, PRIMARY KEY (kind, id));
    """,
    # 3: the audit.
    """
    CREATE TABLE audit (id VARCHAR NOT NULL, at_ms BIGINT NOT NULL, action VARCHAR NOT NULL,
                        address VARCHAR NOT NULL, outcome VARCHAR NOT NULL, target VARCHAR,
                        usr VARCHAR, key_id VARCHAR, detail VARCHAR);
    """,
    # 4: services, which run as tasks do.
    """
    ALTER TABLE tasks ADD COLUMN service BOOLEAN DEFAULT false;
    """,
    # 5: disk usage of tasks (`core.model.Kept`; NULL: not measured); number of tasks by day (UTC)
    # of their end whose rows were removed.
    """
    ALTER TABLE tasks ADD COLUMN outputs_bytes BIGINT;
    ALTER TABLE tasks ADD COLUMN outputs_files BIGINT;
    ALTER TABLE tasks ADD COLUMN logs_bytes BIGINT;
    ALTER TABLE tasks ADD COLUMN logs_files BIGINT;
    CREATE TABLE removed_tasks (day DATE, usr VARCHAR, status VARCHAR, number BIGINT NOT NULL,
                                PRIMARY KEY (day, usr, status));
    """,
    # 6: the history of use (`core.usage` has the units). Tasks that ended before count by the day
    # (UTC); their GPU time is not known.
    """
    ALTER TABLE meta ADD COLUMN usage_until BIGINT DEFAULT 0;
    CREATE TABLE task_usage (at_ms BIGINT NOT NULL, task_id VARCHAR NOT NULL,
                             attempt INTEGER NOT NULL, cpu INTEGER NOT NULL,
                             memory INTEGER NOT NULL, read INTEGER NOT NULL,
                             written INTEGER NOT NULL);
    CREATE TABLE task_hours (hour_ms BIGINT NOT NULL, task_id VARCHAR NOT NULL,
                             attempt INTEGER NOT NULL, samples INTEGER NOT NULL,
                             cpu FLOAT NOT NULL, cpu_max INTEGER NOT NULL, memory FLOAT NOT NULL,
                             memory_max INTEGER NOT NULL, read FLOAT NOT NULL,
                             read_max INTEGER NOT NULL, written FLOAT NOT NULL,
                             written_max INTEGER NOT NULL);
    CREATE TABLE gpu_usage (at_ms BIGINT NOT NULL, uuid VARCHAR NOT NULL, utilisation INTEGER,
                            memory INTEGER, temperature INTEGER, power INTEGER,
                            held BOOLEAN NOT NULL);
    CREATE TABLE gpu_hours (hour_ms BIGINT NOT NULL, uuid VARCHAR NOT NULL,
                            samples INTEGER NOT NULL, held FLOAT NOT NULL, utilisation FLOAT,
                            utilisation_max INTEGER, memory FLOAT, memory_max INTEGER,
                            temperature FLOAT, temperature_max INTEGER, power FLOAT,
                            power_max INTEGER);
    CREATE TABLE gpu_holds (uuid VARCHAR NOT NULL, task_id VARCHAR NOT NULL, usr VARCHAR NOT NULL,
                            since_ms BIGINT NOT NULL, until_ms BIGINT NOT NULL);
    CREATE TABLE user_days (day VARCHAR, usr VARCHAR, gpu_ms BIGINT NOT NULL,
                            cpu_ms BIGINT NOT NULL, completed BIGINT NOT NULL,
                            failed BIGINT NOT NULL, PRIMARY KEY (day, usr));
    INSERT INTO user_days
    SELECT strftime(day, '%Y-%m-%d'), usr, 0, 0,
           coalesce(sum(number) FILTER (status = 'completed'), 0),
           coalesce(sum(number) FILTER (status = 'failed'), 0)
    FROM (SELECT day, usr, status, number FROM removed_tasks UNION ALL
          SELECT epoch_ms(ended_at)::DATE, usr, status, 1 FROM tasks
          WHERE ended_at IS NOT NULL AND NOT service)
    WHERE day IS NOT NULL GROUP BY ALL;
    """,
    # 7: the sweep that a task is in; NULL once another task has its place there.
    """
    ALTER TABLE tasks ADD COLUMN sweep_id VARCHAR;
    """,
    # 8: runs (`core.tracking`). `points` is append-only without a key, in the order of `seq`, the
    # number of the commit; `series` has a metric of a run each, with its latest point.
    """
    ALTER TABLE meta ADD COLUMN folded_points BIGINT DEFAULT 0;
    CREATE TABLE runs (id VARCHAR PRIMARY KEY, experiment_id VARCHAR NOT NULL, task_id VARCHAR,
                       usr VARCHAR NOT NULL, name VARCHAR NOT NULL, status VARCHAR NOT NULL,
                       started_at BIGINT NOT NULL, ended_at BIGINT, deleted_at BIGINT,
                       details VARCHAR NOT NULL);
    CREATE TABLE params (run_id VARCHAR, key VARCHAR, value VARCHAR NOT NULL,
                         PRIMARY KEY (run_id, key));
    CREATE TABLE tags (run_id VARCHAR, key VARCHAR, value VARCHAR NOT NULL,
                       PRIMARY KEY (run_id, key));
    CREATE TABLE series (id BIGINT PRIMARY KEY, run_id VARCHAR NOT NULL, key VARCHAR NOT NULL,
                         step BIGINT, at_ms BIGINT, value DOUBLE, points BIGINT NOT NULL DEFAULT 0);
    CREATE TABLE points (seq BIGINT NOT NULL, series BIGINT NOT NULL, step BIGINT NOT NULL,
                         at_ms BIGINT NOT NULL, value DOUBLE NOT NULL);
    """,
)
"""Schema N is MIGRATIONS[:N] in order. Never change an entry that was released; add one."""

SET_VERSION = "UPDATE meta SET schema_version = $1"
READ_META = "SELECT schema_version, instance_id, folded_seq FROM meta"
