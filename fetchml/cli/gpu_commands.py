"""`fetchml gpus` and `fetchml gpu drain|undrain`"""

import time
from collections.abc import Iterable, Mapping, Sequence

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.groups import CommandGroup
from fetchml.cli.ids import short as short_id
from fetchml.cli.list_options import Output, output_option, print_list
from fetchml.cli.render import can_redraw, clean, console, duration, has_narrow_terminal, print_json
from fetchml.cli.tables import run_time, table
from fetchml.client import (
    Client,
    Gpu,
    GpuList,
    Node,
    RateLimited,
    Task,
    Unavailable,
    enum_name,
    to_json,
)

EVERY_SECONDS = 1
UUID_SHOWN = 12
"""Characters of a UUID, including "GPU-": enough to identify a GPU."""
MOST_TASKS = 1000
STYLES = {
    "free": "green",
    "held": "blue",
    "settling": "cyan",
    "busy": "yellow",
    "drained": "yellow",
    "unknown": "red",
    "sick": "red",
    "lost": "red",
}


@click.command()
@click.option("--watch", "-w", is_flag=True, help="Refresh every second, until Ctrl-C.")
@output_option
@server_option
def gpus(client: Client, output: Output, *, watch: bool) -> None:
    """Show each GPU: its state, use, task, and problem if it has one. On a cluster, each node.

    'fetchml gpu drain NUMBER' takes one out of service.
    """
    if not watch:
        inventory = client.gpus()
        whole = {"gpus": [], **to_json(inventory)}
        print_list(output, whole, inventory.gpus, lambda: picture(client, inventory), name="uuid")
        return
    if output.kind == "json":
        while True:
            print_json({"gpus": [], **to_json(client.gpus())})
            time.sleep(EVERY_SECONDS)
    out = console()
    if not can_redraw(out) or output.kind != "table":
        raise click.UsageError("--watch needs a terminal, or --json")
    with Live(picture(client), console=out, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(EVERY_SECONDS)
            live.update(_picture_or_reason(client, live.get_renderable()), refresh=True)


def _picture_or_reason(client: Client, last: RenderableType) -> RenderableType:
    """Return the last picture with a line under it while the server is unreachable."""
    try:
        return picture(client)
    except (RateLimited, Unavailable) as failed:
        seen = last.renderables[0] if isinstance(last, Away) else last
        return Away(seen, Text(f"{failed}; retrying", "dim"))


class Away(Group):
    """A picture from before the server was lost, and a line that reports that."""


def picture(client: Client, inventory: GpuList | None = None) -> RenderableType:
    inventory = client.gpus() if inventory is None else inventory
    has_tasks = any(gpu.task_ids for gpu in inventory.gpus) or any(
        node.task_ids for node in inventory.nodes
    )
    return gpu_picture(inventory, _tasks(client) if has_tasks else [])


def gpu_picture(inventory: GpuList, tasks: Iterable[Task]) -> RenderableType:
    """`tasks` are those that may hold GPUs."""
    lines: list[RenderableType] = []
    if inventory.nodes:
        lines.append(node_table(inventory, {task.id: task for task in tasks}))
    elif inventory.gpus:
        lines.append(_table(inventory.gpus, {task.id: task for task in tasks}))
    else:
        lines.append(clean(f"No GPUs: {inventory.problem or 'none found'}"))
    if inventory.gpus and inventory.problem:
        lines.append(clean(f"The GPU driver has a problem: {inventory.problem}"))
    lines += [clean(note) for note in inventory.notes]
    return Group(*lines)


def state_name(gpu: Gpu) -> str:
    return enum_name(gpu, "state")


def short(uuid: str) -> str:
    """Return the start of a UUID, also of a MIG device's."""
    return uuid[:UUID_SHOWN]


def _table(gpus: Iterable[Gpu], tasks: dict[str, Task]) -> Table:
    is_narrow = has_narrow_terminal()
    shown = table(
        *("GPU", "UUID", "NAME", "STATE", "USE", "MEMORY", "TEMP"),
        *("JOB", "USER", "TASK", "RAN", "NOTE"),
        spare=("TEMP", "UUID", "NAME", "MEMORY", "RAN", "USE", "USER", "JOB", "TASK"),
    )
    for gpu in gpus:
        holders = [tasks.get(task_id) or Task(id=task_id) for task_id in gpu.task_ids]
        state = state_name(gpu)
        shown.add_row(
            str(gpu.number),
            clean(short(gpu.uuid)),
            clean(gpu.name),
            Text(state, STYLES.get(state, "")),
            f"{gpu.utilisation_percent} %" if gpu.HasField("utilisation_percent") else "",
            memory(gpu),
            f"{gpu.temperature_c} °C" if gpu.HasField("temperature_c") else "",
            clean(", ".join(task.job_name for task in holders if task.job_name)),
            clean(", ".join(dict.fromkeys(task.user_id for task in holders if task.user_id))),
            Text(", ".join(map(short_id, gpu.task_ids) if is_narrow else gpu.task_ids)),
            run_time(holders[0]) if len(holders) == 1 else "",
            clean("; ".join(filter(None, (note(gpu), packing(gpu), *map(idle, holders))))),
        )
    return shown


def packing(gpu: Gpu) -> str:
    """Return whether a further task may start beside those on a GPU; empty if that is not by its
    memory."""
    if not gpu.HasField("packing_room_mb"):
        return ""
    if not gpu.packing_room_mb:
        return "no room for another task"
    return f"{gpu.packing_room_mb / 1024:.1f} GiB for another task"


def idle(task: Task) -> str:
    """Return since when a task leaves its GPUs idle, in words; empty if it uses them."""
    if not task.HasField("idle_since"):
        return ""
    return f"idle for {duration(time.time() - task.idle_since.ToMilliseconds() / 1000)}"


def memory(gpu: Gpu) -> str:
    """In GiB."""
    if not gpu.memory_mb:
        return ""
    total = f"{gpu.memory_mb / 1024:.0f} GiB"
    if not gpu.HasField("memory_used_mb"):
        return total
    return f"{gpu.memory_used_mb / 1024:.1f} of {total}"


def note(gpu: Gpu) -> str:
    """Return why nothing starts on a GPU, without the state that the table already shows."""
    reason = gpu.reason.removeprefix(f"{state_name(gpu)}: ")
    if not gpu.drained_by or reason.startswith("drained by"):
        return reason
    # The server's own name includes a reason, which `reason` already holds.
    by = gpu.drained_by.partition(" (")[0] if reason else gpu.drained_by
    return "; ".join(filter(None, (reason, f"drained by {by}")))


def _tasks(client: Client) -> list[Task]:
    return list(client.page(MOST_TASKS, states=(Task.preparing, Task.running)).tasks)


@click.group(cls=CommandGroup)
def gpu() -> None:
    """Drain GPUs, and put them back in service. For admins.

    GPU is a number from 'fetchml gpus', or the start of a UUID.

    \b
    Examples:
      fetchml gpu drain 3
      fetchml gpu undrain 3
    """


@gpu.command()
@click.argument("gpus", metavar="GPU…", nargs=-1, required=True)
@json_option
@server_option
def drain(client: Client, gpus: tuple[str, ...], *, as_json: bool) -> None:
    """Start nothing more on GPUs until they are undrained.

    Tasks on them continue.
    """
    all_gpus = client.gpus().gpus
    for chosen in [find(all_gpus, named) for named in gpus]:
        drained = client.drain_gpu(chosen.uuid)
        if as_json:
            print_json(drained)
        elif drained.task_ids:
            ids = ", ".join(drained.task_ids)
            click.echo(_about(drained, f"is drained; it is still used by {ids}"))
        else:
            click.echo(_about(drained, "is drained"))


@gpu.command()
@click.argument("gpus", metavar="GPU…", nargs=-1, required=True)
@json_option
@server_option
def undrain(client: Client, gpus: tuple[str, ...], *, as_json: bool) -> None:
    """Put drained GPUs back in service.

    Marks them healthy and clears their recorded errors.
    """
    all_gpus = client.gpus().gpus
    for chosen in [find(all_gpus, named) for named in gpus]:
        back = client.undrain_gpu(chosen.uuid)
        if as_json:
            print_json(back)
        elif back.reason:
            click.echo(
                _about(back, f"is no longer drained, but nothing starts on it: {back.reason}")
            )
        else:
            click.echo(_about(back, f"is back in service: {state_name(back)}"))


def find(gpus: Sequence[Gpu], named: str) -> Gpu:
    """Return the GPU with a number or a start of a UUID. Raises CommandError."""
    by_number = [gpu for gpu in gpus if str(gpu.number) == named]
    if by_number:
        return by_number[0]
    wanted = named.casefold()
    begins = [gpu for gpu in gpus if wanted and gpu.uuid.casefold().startswith(wanted)]
    whole = [gpu for gpu in begins if gpu.uuid.casefold() == wanted]
    match whole or begins:
        case [only]:
            return only
        case []:
            raise CommandError(
                f"GPU {clean(named).plain} not found",
                "Give a number or the start of a UUID, as listed by 'fetchml gpus'.",
                ExitCode.NOT_FOUND,
            )
        case several:
            numbers = ", ".join(str(gpu.number) for gpu in several)
            raise CommandError(
                f"Several UUIDs start with {clean(named).plain}: GPUs {numbers}",
                "Give more of the UUID, or a number.",
                ExitCode.USAGE,
            )


def _about(gpu: Gpu, what: str) -> str:
    return clean(f"GPU {gpu.number} ({short(gpu.uuid)}, {gpu.name or 'no name'}) {what}").plain


def node_table(inventory: GpuList, tasks: Mapping[str, Task]) -> Table:
    """One line a node. `tasks` are those that may run on them."""
    is_narrow = has_narrow_terminal()
    shown = table(
        *("NODE", "STATE", "GPUS", "TYPE", "CORES", "MEMORY", "PARTITIONS"),
        *("JOB", "USER", "TASK", "NOTE"),
        spare=("PARTITIONS", "TYPE", "MEMORY", "USER", "JOB", "TASK", "CORES"),
    )
    for node in inventory.nodes:
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
            clean(node_note(node)),
        )
    return shown


def node_line(inventory: GpuList) -> Text:
    """Return the cluster in one line: how much is free, then the nodes that take no work."""
    usable = [node for node in inventory.nodes if node.takes_work]
    gpus = sum(node.gpu for node in usable)
    used = sum(node.gpu_used for node in usable)
    line = Text(f"{len(usable)} of {len(inventory.nodes)} nodes take work", "bold")
    line.append(f", {gpus - used} of {gpus} GPUs free", "bold")
    for node in inventory.nodes:
        if not node.takes_work:
            line.append("   ").append_text(clean(node.name)).append(" ")
            line.append(clean(node.state).plain, "yellow")
            if node.reason:
                line.append(": ").append_text(clean(node.reason))
    return line


def node_note(node: Node) -> str:
    """Return why a node takes no work, with the author of the reason."""
    return f"{node.reason} ({node.reason_by})" if node.reason_by else node.reason
