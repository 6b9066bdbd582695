"""The numbers (`seq`) of the messages of /ws and of gRPC's WatchTasks.

Both transports number alike, so a number from one resumes a watch over the other. Changes of tasks
are numbered 1, 2, 3, … (`core.model.Change.seq`). The messages about change N:

| number | message                                                                               |
|--------|---------------------------------------------------------------------------------------|
| 2N     | `task_update` or `task_deleted`                                                       |
| 2N + 1 | `task_complete`, if the change ended the task (over /ws; gRPC has no such message)    |
| 2N + 1 | `snapshot`, `synced` and `resync`: they are about all changes up to N                 |

A client resumes with the number of the last message it processed. Numbers that a release before
this scheme gave out are smaller: a watch that resumes with one repeats changes, or is sent a
`resync`, and misses nothing.
"""


def of_update(change: int) -> int:
    """The number of the message that a change was made."""
    return 2 * change


def of_complete(change: int) -> int:
    """The number of the `task_complete` after the update of a task's end."""
    return 2 * change + 1


def up_to(change: int) -> int:
    """The number of a message about all changes up to this one."""
    return 2 * change + 1


def changes_between(after: int, seq: int) -> int:
    """The number of changes from the message `after` to the message `seq`."""
    return (seq - after) // 2


def last_finished(seq: int, *, completes: bool) -> int:
    """The last change that has no message above `seq`; 0 if each change has one.

    `completes`: whether the watch sends `task_complete`.
    """
    return max(0, (seq - 1) // 2) if completes else seq // 2
