"""Every SQL statement that reads and writes the store, and how a query for tasks becomes one.

The tables are in `schema`. Data are JSON of `core.model`; JSON leaves out defaults, hence the
`coalesce`s in FOLD_TASKS.
"""

from collections.abc import Collection
from typing import Any

from fetchml.core.audit import SECURITY, Action
from fetchml.core.model import Status
from fetchml.ports.store import AuditQuery, OldTasks, TaskQuery

_SECURITY = ", ".join(f"'{action.value}'" for action in sorted(SECURITY))

# Fold: the latest change of each task in (from, to], moved into `tasks`. Doing it twice changes
# nothing, since the same rows give the same result. `created_at` never changes; joining by it as
# well lets all but the newest row groups be passed over (INSERT OR REPLACE reads every id).
FOLD_TASKS = """
    MERGE INTO tasks USING (
        SELECT id, found[1]::BIGINT AS created_at, found[2] AS usr,
               coalesce(found[3], 'queued') AS status, found[4] AS job_name,
               found[5] AS experiment_id, found[6]::BIGINT AS ended_at,
               coalesce(found[7]::BOOLEAN, false) OR service AS hidden, service,
               CASE WHEN found[15] IS NULL THEN found[14] END AS sweep_id,
               CASE WHEN measured THEN coalesce(found[10]::BIGINT, 0) END AS outputs_bytes,
               CASE WHEN measured THEN coalesce(found[11]::BIGINT, 0) END AS outputs_files,
               CASE WHEN measured THEN coalesce(found[12]::BIGINT, 0) END AS logs_bytes,
               CASE WHEN measured THEN coalesce(found[13]::BIGINT, 0) END AS logs_files, data
        FROM (SELECT id, data, json_extract_string(data, ['$.created_at', '$.user', '$.status',
                  '$.spec.job_name', '$.spec.experiment_id', '$.ended_at', '$.hidden',
                  '$.service', '$.kept', '$.kept.outputs_bytes', '$.kept.outputs_files',
                  '$.kept.logs_bytes', '$.kept.logs_files', '$.spec.sweep.id',
                  '$.superseded']) AS found,
                  coalesce(found[8]::BOOLEAN, false) AS service, found[9] IS NOT NULL AS measured
              FROM (SELECT task_id AS id, arg_max(data, seq) AS data
                    FROM journal WHERE seq > $1 AND seq <= $2 GROUP BY task_id))
    ) AS new ON tasks.id = new.id AND tasks.created_at = new.created_at
    WHEN MATCHED THEN UPDATE SET status = new.status, ended_at = new.ended_at,
                                 hidden = new.hidden, data = new.data,
                                 sweep_id = new.sweep_id,
                                 outputs_bytes = new.outputs_bytes,
                                 outputs_files = new.outputs_files,
                                 logs_bytes = new.logs_bytes, logs_files = new.logs_files
    WHEN NOT MATCHED THEN INSERT BY NAME
"""
# Whether any change may have an idempotency key, or delete a task. One scan instead of two, with
# which most folds are done.
FOLDED_KINDS = """
    SELECT bool_or(contains(data, '"idempotency":')), bool_or(contains(data, '"hidden":true'))
    FROM journal WHERE seq > $1 AND seq <= $2
"""
# A key names the newest create that was made with it; changes that an older task has later
# must not take it back.
FOLD_IDEMPOTENCY = """
    INSERT INTO idempotency
    SELECT usr, key, arg_max(task_id, created_at), arg_max(digest, created_at), max(created_at)
    FROM (SELECT data->>'$.user' AS usr, data->>'$.idempotency.key' AS key, task_id,
                 data->>'$.idempotency.digest' AS digest,
                 (data->>'$.created_at')::BIGINT AS created_at
          FROM journal WHERE seq > $1 AND seq <= $2 AND contains(data, '"idempotency":'))
    WHERE key IS NOT NULL GROUP BY usr, key
    ON CONFLICT DO UPDATE SET task_id = excluded.task_id, digest = excluded.digest,
                              created_at = excluded.created_at
    WHERE excluded.created_at > idempotency.created_at
"""
FOLDED = "UPDATE meta SET folded_seq = $1"

PRUNE_JOURNAL = "DELETE FROM journal WHERE seq <= $1"
PRUNE_IDEMPOTENCY = "DELETE FROM idempotency WHERE created_at < $1"
COUNT_AUDIT = "SELECT count(*) FROM audit"
# Entries form groups: those of security, each user's others, each user's refusals. Entries are
# ranked within their group, the newest first, and the lowest ranks are deleted: a flood removes
# entries only from the group that it fills, and a group with less than an equal share loses none.
# The first $2 entries of security rank above all others.
PRUNE_AUDIT = f"""
    DELETE FROM audit WHERE id IN (
        SELECT id FROM (
            SELECT id, security, row_number() OVER (PARTITION BY security, refused, usr
                                                    ORDER BY id DESC) AS place
            FROM (SELECT id, CASE WHEN action IN ({_SECURITY}) THEN NULL ELSE usr END AS usr,
                         action IN ({_SECURITY}) AS security,
                         action = '{Action.ACCESS_REFUSED.value}' AS refused FROM audit)
        ) ORDER BY CASE WHEN security AND place <= $2 THEN 0 ELSE place END DESC, id
        LIMIT $1)
"""  # noqa: S608 - our own text

# For a start. Everything is folded then, except before SIZES, which the fold needs.
SIZES = "SELECT seq, length(data) FROM journal WHERE seq > $1 AND seq <= $2 ORDER BY seq"
SEQ_RANGE = "SELECT min(seq), max(seq) FROM journal"
LAST_CREATED_AT = "SELECT coalesce(max(created_at), 0) FROM tasks"
LIVE_ROWS = """
    SELECT rowid FROM tasks WHERE status IN ('queued', 'preparing', 'running', 'collecting')
    ORDER BY created_at, id
"""
COUNTS = "SELECT usr, status, count(*) FROM tasks WHERE NOT hidden GROUP BY usr, status"
SWEEP_COUNTS = """
    SELECT sweep_id, status, count(*) FROM tasks WHERE sweep_id IS NOT NULL AND NOT hidden
    GROUP BY sweep_id, status
"""
EXPERIMENT_COUNTS = """
    SELECT experiment_id, usr, status, count(*) FROM tasks
    WHERE experiment_id IS NOT NULL AND NOT hidden GROUP BY experiment_id, usr, status
"""
SWEEP_FAILURES = """
    SELECT sweep_id, count(*), max(id) FROM tasks
    WHERE sweep_id IS NOT NULL AND status = 'failed' GROUP BY sweep_id
"""

# Files of hidden tasks are gone; those of services are not counted here.
KEPT_BY_USER = """
    SELECT usr, sum(outputs_bytes), sum(outputs_files), sum(logs_bytes), sum(logs_files)
    FROM tasks WHERE outputs_bytes IS NOT NULL AND NOT hidden AND status IN ('completed', 'failed')
    GROUP BY usr
"""

# Rows that nothing reads any more are replaced by a count. They are folded, and a hidden task never
# changes again.
OLD_ROWS = """
    SELECT id FROM tasks WHERE hidden AND ended_at < $1 AND created_at < $1 AND NOT service LIMIT $2
"""
COUNT_REMOVED = """
    INSERT INTO removed_tasks
    SELECT epoch_ms(ended_at)::DATE, usr, status, count(*) FROM tasks
    WHERE id IN (SELECT unnest($1)) GROUP BY ALL
    ON CONFLICT DO UPDATE SET number = number + excluded.number
"""
REMOVE_ROWS = "DELETE FROM tasks WHERE id IN (SELECT unnest($1))"

# Point reads look at the tail first, then at the table: a change folded in between is found there.
GET_FROM_TAIL = """
    SELECT data FROM journal WHERE seq > $1 AND task_id = $2 ORDER BY seq DESC LIMIT 1
"""
GET = "SELECT data FROM tasks WHERE id = $1"
# Not `AND usr = $2`: with a second condition DuckDB reads the table instead of the index.
GET_OWN_FROM_TAIL = """
    SELECT CASE WHEN data->>'$.user' = $3 THEN data END
    FROM journal WHERE seq > $1 AND task_id = $2 ORDER BY seq DESC LIMIT 1
"""
GET_OWN = "SELECT CASE WHEN usr = $2 THEN data END FROM tasks WHERE id = $1"
SWEEP_TASKS = """
    SELECT found[1]::INTEGER, id, status, found[2] IS NULL
    FROM (SELECT id, status, json_extract_string(
              data, ['$.spec.sweep.index', '$.outputs_removed_at']) AS found
          FROM tasks WHERE sweep_id = $1 AND NOT hidden)
    ORDER BY 1, 2
"""
OUTCOMES = """
    SELECT id, status FROM tasks
    WHERE id IN (SELECT unnest($1)) AND status IN ('completed', 'failed')
"""
FIND_IDEMPOTENT_IN_TAIL = """
    SELECT key, arg_max(task_id, created_at), arg_max(digest, created_at), max(created_at)
    FROM (SELECT data->>'$.idempotency.key' AS key, task_id,
                 data->>'$.idempotency.digest' AS digest,
                 (data->>'$.created_at')::BIGINT AS created_at
          FROM journal
          WHERE seq > $1 AND contains(data, '"idempotency":') AND data->>'$.user' = $2)
    WHERE key IN (SELECT unnest($3)) GROUP BY key
"""
FIND_IDEMPOTENT = """
    SELECT key, task_id, digest, created_at FROM idempotency
    WHERE usr = $1 AND key IN (SELECT unnest($2))
"""
CHANGES_SINCE = "SELECT seq, at_ms, data FROM journal WHERE seq > $1 ORDER BY seq LIMIT $2"

# Several tasks are read in two steps, first their row ids, then their data in portions: the data of
# a thousand long ones exceeds the memory limit.
SIZES_OF_ROWS = "SELECT rowid, strlen(data) FROM tasks WHERE rowid IN (SELECT unnest($1))"
DATA_OF_ROWS = "SELECT rowid, data FROM tasks WHERE rowid IN (SELECT unnest($1))"

# Ended tasks are stored in the order of time, so that a day is a small part of the table. Deleted
# tasks count too.
ENDED_BETWEEN = """
    SELECT count(*) FILTER (status = 'completed'), count(*) FILTER (status = 'failed')
    FROM tasks WHERE ended_at >= $1 AND ended_at < $2 AND NOT service
"""

PUT_KEY = "INSERT OR REPLACE INTO keys VALUES ($1, $2)"
LIST_KEYS = "SELECT data FROM keys ORDER BY id"

PUT_DOCUMENT = "INSERT OR REPLACE INTO documents VALUES ($1, $2, $3)"
PUT_DOCUMENTS = "INSERT OR REPLACE INTO documents SELECT unnest($1), unnest($2), unnest($3)"
DELETE_DOCUMENTS = "DELETE FROM documents WHERE kind = $1 AND id IN (SELECT unnest($2))"
DELETE_DOCUMENT = "DELETE FROM documents WHERE kind = $1 AND id = $2"
GET_DOCUMENT = "SELECT data FROM documents WHERE kind = $1 AND id = $2"
LIST_DOCUMENTS = "SELECT data FROM documents WHERE kind = $1 ORDER BY id"


def count_tasks(query: TaskQuery) -> tuple[str, list[Any]]:
    """Statement and parameters for `TaskPage.total`."""
    where, parameters = _filter(query)
    return f"SELECT count(*) FROM tasks WHERE {where}", parameters  # noqa: S608 - our own text


def page_of_tasks(query: TaskQuery) -> tuple[str, list[Any]]:
    """Statement and parameters for the rowids of `TaskPage.tasks`, in their order."""
    where, parameters = _filter(query)
    if groups := _groups(query):
        single = " AND ".join(f"{group} IS NULL" for group in groups)
        newest = (
            "SELECT arg_max(id, {'at': created_at, 'id': id}) FROM tasks "  # noqa: S608
            f"WHERE {where} AND NOT ({single}) GROUP BY {', '.join(groups)}"
        )
        where += f" AND ({single} OR id IN ({newest}))"
        parameters *= 2
    if query.before is not None:
        created_at, task_id = query.before
        # Not a comparison of pairs: only plain columns let whole row groups be passed over.
        where += " AND created_at <= ? AND (created_at < ? OR id < ?)"
        parameters += [created_at, created_at, task_id]
    chosen = f"WHERE {where} ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?"
    statement = f"SELECT rowid FROM tasks {chosen}"  # noqa: S608 - our own text
    return statement, [*parameters, query.limit, query.offset]


def _groups(query: TaskQuery) -> list[str]:
    """Columns of the groups. Two, so that no id of one kind is taken for one of the other."""
    groups = ["experiment_id"] if query.fold_experiments else []
    if query.fold_sweeps:
        in_none = "CASE WHEN experiment_id IS NULL THEN sweep_id END"
        groups.append(in_none if groups else "sweep_id")
    return groups


def old_tasks(query: OldTasks) -> tuple[str, list[Any]]:
    """Statement and parameters for the rowids of ended tasks, oldest first."""
    where, parameters = _old(query)
    statement = f"SELECT rowid FROM tasks WHERE {where} ORDER BY created_at, id LIMIT ?"  # noqa: S608
    return statement, [*parameters, query.limit]


def count_old_tasks(query: OldTasks) -> tuple[str, list[Any]]:
    """Statement and parameters: how many, and the bytes and files of their outputs and logs."""
    where, parameters = _old(query)
    columns = ", ".join(
        f"coalesce(sum({name}), 0)"
        for name in ("outputs_bytes", "outputs_files", "logs_bytes", "logs_files")
    )
    return f"SELECT count(*), {columns} FROM tasks WHERE {where}", parameters  # noqa: S608


def _old(query: OldTasks) -> tuple[str, list[Any]]:
    where = "NOT hidden AND ended_at < ?"
    parameters: list[Any] = [query.ended_before]
    if query.states:
        where += f" AND status IN ({', '.join('?' * len(query.states))})"
        parameters += [state.value for state in query.states]
    else:
        where += " AND status IN ('completed', 'failed')"
    if query.user is not None:
        where += " AND usr = ?"
        parameters.append(query.user)
    if query.with_outputs:
        # NULL: an older release ran it, or it never ran.
        where += " AND (outputs_files IS NULL OR outputs_files > 0)"
    if query.after is not None:
        where += " AND (created_at > ? OR (created_at = ? AND id > ?))"
        parameters += [query.after[0], *query.after]
    return where, parameters


def audit_entries(query: AuditQuery) -> tuple[str, list[Any]]:
    """Statement and parameters for the entries that were appended, each row an AuditEntry."""
    where, parameters = "true", list[Any]()
    for column, value in (("usr", query.user), ("action", query.action), ("target", query.target)):
        if value is not None:
            where += f" AND {column} = ?"
            parameters.append(str(value))
    if query.since is not None:
        where += " AND at_ms >= ?"
        parameters.append(query.since)
    if query.before is not None:
        where += " AND id < ?"
        parameters.append(query.before)
    statement = f"""
        SELECT id, at_ms, action, address, outcome, target, usr, key_id, detail
        FROM audit WHERE {where} ORDER BY id DESC LIMIT ?
    """  # noqa: S608 - our own text
    return statement, [*parameters, query.limit]


def tasks_created(query: AuditQuery) -> tuple[str, list[Any]]:
    """Statement and parameters: rows (id, created_at, user, key id, address), newest first.

    The rows are chosen first, as in `page_of_tasks`.
    """
    where, parameters = "NOT service", list[Any]()
    if query.action not in (None, Action.TASK_CREATE):
        where = "false"
    if query.user is not None:
        where += " AND usr = ?"
        parameters.append(query.user)
    if query.target is not None:
        where += " AND id = ?"
        parameters.append(query.target)
    if query.since is not None:
        where += " AND created_at >= ?"
        parameters.append(query.since)
    if query.before is not None:
        # The time in an id is that of the creation or, when many came at once, a little later.
        where += " AND created_at <= ? AND id < ?"
        parameters += [int(query.before.replace("-", "")[:12], 16), query.before]
    statement = f"""
        SELECT id, created_at, usr, data->>'$.sender.key_id', data->>'$.sender.address' FROM tasks
        WHERE rowid IN (SELECT rowid FROM tasks WHERE {where}
                        ORDER BY created_at DESC, id DESC LIMIT ?)
        ORDER BY created_at DESC, id DESC
    """  # noqa: S608 - our own text
    return statement, [*parameters, query.limit]


_PRESTAGED = "(status = 'preparing' AND coalesce((data->>'$.ahead')::BOOLEAN, false))"


# A map, since a key may hold every character that a JSON path gives a meaning.
_METADATA = "json_extract(data, '$.spec.metadata')::MAP(VARCHAR, VARCHAR)"
# Line breaks keep the end of one text and the start of the next from matching together.
_TEXTS = (
    "concat_ws(chr(10), job_name, id, data->>'$.spec.args', data->>'$.error', "
    "array_to_string(data->>'$.spec.command[*]', ' '))"
)


def _has_shown_status(states: Collection[Status]) -> str:
    """The condition for `Task.shown_status`, with a parameter for each state. The column has
    `Task.status`."""
    plain = f"status IN ({', '.join('?' * len(states))})"
    if (Status.QUEUED in states) == (Status.PREPARING in states):
        return plain
    if Status.QUEUED in states:
        return f"({plain} OR {_PRESTAGED})"
    return f"({plain} AND NOT {_PRESTAGED})"


def _filter(query: TaskQuery) -> tuple[str, list[Any]]:
    where, parameters = "NOT hidden", list[Any]()
    if query.states:
        where += f" AND {_has_shown_status(query.states)}"
        parameters += [state.value for state in query.states]
    if query.user is not None:
        where += " AND usr = ?"
        parameters.append(query.user)
    if query.job_name_prefix is not None:
        where += " AND starts_with(job_name, ?)"
        parameters.append(query.job_name_prefix)
    if query.experiment_id is not None:
        where += " AND experiment_id = ?"
        parameters.append(query.experiment_id)
    if query.sweep_id is not None:
        where += " AND sweep_id = ?"
        parameters.append(query.sweep_id)
    if query.created_after is not None:
        where += " AND created_at >= ?"
        parameters.append(query.created_after)
    if query.created_before is not None:
        where += " AND created_at < ?"
        parameters.append(query.created_before)
    if query.id_suffix is not None:
        where += " AND ends_with(id, ?)"
        parameters.append(query.id_suffix)
    for key, value in query.labels:
        label_value = f"element_at({_METADATA}, ?)[1]"
        where += f" AND {label_value} IS NOT NULL" if value is None else f" AND {label_value} = ?"
        parameters += [key] if value is None else [key, value]
    if query.text is not None:
        where += f" AND contains(lower({_TEXTS}), lower(?))"
        parameters.append(query.text)
    return where, parameters
