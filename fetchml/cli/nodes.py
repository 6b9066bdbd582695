"""Nodes of a cluster, as `fetchml gpus` and `fetchml top` show them."""

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from fetchml.cli.render import clean, has_narrow_terminal
from fetchml.cli.tables import table
from fetchml.cli.task_ids import short as short_id
from fetchml.client import GpuList, Node, Task


def node_table(found: GpuList, tasks: Mapping[str, Task]) -> Table:
    """One line a node. `tasks` are those that may run on them."""
    is_narrow = has_narrow_terminal()
    shown = table(
        *("NODE", "STATE", "GPUS", "TYPE", "CORES", "MEMORY", "PARTITIONS"),
        *("JOB", "USER", "TASK", "NOTE"),
        spare=("PARTITIONS", "TYPE", "MEMORY", "USER", "JOB", "TASK", "CORES"),
    )
    for node in found.nodes:
        holders = [tasks.get(task_id) or Task(id=task_id) for task_id in node.task_ids]
        shown.add_row(
            clean(node.name),
            Text(clean(node.state).plain, "green" if node.takes_work else "yellow"),
            f"{node.gpu_used} of {node.gpu}" if node.gpu else "",
            clean(node.gpu_name),
            f"{node.cpu_used} of {node.cpu}",
            f"{node.memory_used_mb / 1024:.1f} of {node.memory_mb / 1024:.0f} GiB",
            clean(", ".join(node.partitions)),
            clean(", ".join(task.job_name for task in holders if task.job_name)),
            clean(", ".join(dict.fromkeys(task.user_id for task in holders if task.user_id))),
            Text(", ".join(map(short_id, node.task_ids) if is_narrow else node.task_ids)),
            clean(note(node)),
        )
    return shown


def node_line(found: GpuList) -> Text:
    """Return the cluster in one line: how much is free, then the nodes that take no work."""
    usable = [node for node in found.nodes if node.takes_work]
    gpus = sum(node.gpu for node in usable)
    used = sum(node.gpu_used for node in usable)
    line = Text(f"{len(usable)} of {len(found.nodes)} nodes take work", "bold")
    line.append(f", {gpus - used} of {gpus} GPUs free", "bold")
    for node in found.nodes:
        if not node.takes_work:
            line.append("   ").append_text(clean(node.name)).append(" ")
            line.append(clean(node.state).plain, "yellow")
            if node.reason:
                line.append(": ").append_text(clean(node.reason))
    return line


def note(node: Node) -> str:
    """Return why a node takes no work, with the author of the reason."""
    return f"{node.reason} ({node.reason_by})" if node.reason_by else node.reason
