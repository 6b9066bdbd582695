"""`fetchml completion`: the completion of commands and ids in a shell."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import click
from click import shell_completion
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

from fetchml.cli.connect import connected_to
from fetchml.cli.render import clean
from fetchml.cli.targets import find_target, read_profiles
from fetchml.client import Client, Task, status_name

VARIABLE = "_FETCHML_COMPLETE"
DEADLINE_SECONDS = 2
"""A server that takes longer completes nothing: a shell must not hang."""
MOST = 100
_ENDED = (Task.completed, Task.failed)
_LIVE = (Task.queued, Task.preparing, Task.running, Task.collecting)
_WAITING = (Task.queued,)
_STATES: dict[str, tuple[Task.Status, ...]] = {
    "cancel": _LIVE,
    "hold": _WAITING,
    "notify": _LIVE,
    "priority": _WAITING,
    "release": _WAITING,
    "retry": _ENDED,
    "rm": _ENDED,
    "start-after": _WAITING,
    "timeout": (Task.queued, Task.preparing, Task.running),
}
"""States of the tasks that a command can act on; every state for other commands."""


class Choice(NamedTuple):
    """A value to complete to."""

    value: str
    about: str
    """Shown beside the value by zsh and fish."""
    also: tuple[str, ...] = ()
    """Other beginnings that lead to the value, such as the name of a task's job."""


def _tasks(client: Client, command: str) -> Iterator[Choice]:
    states = _STATES.get(command, ())
    for task in client.page(MOST, states=states).tasks:
        about = f"{status_name(task)} {task.job_name}"
        yield Choice(task.id, about, (task.job_name, task.id.rpartition("-")[2]))


def _experiments(client: Client, _: str) -> Iterator[Choice]:
    for each in client.experiments():
        yield Choice(each.id, each.name, (each.name, each.id.rpartition("-")[2]))


def _snapshots(client: Client, _: str) -> Iterator[Choice]:
    for each in client.snapshots():
        yield Choice(each.id, f"{each.file_count} files, {', '.join(each.user_ids)}")


def _services(client: Client, _: str) -> Iterator[Choice]:
    for each in client.list_jupyter():
        yield Choice(each.id, each.name, (each.name,))


def _gpus(client: Client, _: str) -> Iterator[Choice]:
    for gpu in client.gpus().gpus:
        yield Choice(str(gpu.number), f"{gpu.uuid} {gpu.name}")


_ASKED: dict[str, Callable[[Client, str], Iterator[Choice]]] = {
    "task_id": _tasks,
    "task_ids": _tasks,
    "experiment": _experiments,
    "experiment_id": _experiments,
    "experiment_ids": _experiments,
    "snapshot_id": _snapshots,
    "snapshot_ids": _snapshots,
    "service_id": _services,
    "service_ids": _services,
    "gpus": _gpus,
}
"""The request for values, by the name of the argument or option."""


def completed(ctx: click.Context, name: str, incomplete: str) -> list[CompletionItem]:
    """Return the values of an argument or option that begin so."""
    choices: Iterable[Choice] = ()
    try:
        if name == "profile" or (name, ctx.command.name) == ("name", "logout"):
            profiles = read_profiles().named
            choices = [Choice(each, profile.server) for each, profile in sorted(profiles.items())]
        elif name in _ASKED:
            target = find_target(ctx.params.get("server"), ctx.params.get("profile"))
            with connected_to(target) as client:
                quick = client.with_options(deadline=DEADLINE_SECONDS)
                choices = list(_ASKED[name](quick, ctx.command.name or ""))
    except click.ClickException:
        return []
    matching = [each for each in choices if each.value.startswith(incomplete)] or [
        each for each in choices if any(also.startswith(incomplete) for also in each.also)
    ]
    return [
        CompletionItem(each.value, help=clean(each.about).plain.replace("\n", " "))
        for each in matching
        if each.value.isprintable()
    ]


class _AskingServer(ShellComplete):
    """Completion that asks the server."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        completions = super().get_completions(args, incomplete)
        if completions:
            return completions
        # click lets only each parameter by itself complete from elsewhere; here its name decides.
        ctx = shell_completion._resolve_context(  # noqa: SLF001
            self.cli, self.ctx_args, self.prog_name, args
        )
        parameter, incomplete = shell_completion._resolve_incomplete(  # noqa: SLF001
            ctx, args, incomplete
        )
        if isinstance(parameter, click.Parameter) and parameter.name:
            return completed(ctx, parameter.name, incomplete)
        return []


class _Bash(_AskingServer, BashComplete):
    @staticmethod
    def _check_version() -> None:
        """Check nothing: the script may be written on another machine than it runs on."""


class _Zsh(_AskingServer, ZshComplete):
    pass


class _Fish(_AskingServer, FishComplete):
    source_template = FishComplete.source_template.replace(
        'string split ","', 'string split --max 1 ","'
    )
    """The text beside a value may have commas."""


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def register() -> None:
    """Let click use these classes."""
    for name, kind in SHELLS.items():
        add_completion_class(kind, name)


def script(shell: str, program: click.Command) -> str:
    """Return the script that a shell evaluates."""
    return SHELLS[shell](program, {}, "fetchml", VARIABLE).source()


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options, ids and names in a shell.

    Ids complete from the start, from their last part, and from a job's or an experiment's name.

    \b
    Examples:
      source <(fetchml completion bash)         # in ~/.bashrc
      source <(fetchml completion zsh)          # in ~/.zshrc, after compinit
      fetchml completion fish > ~/.config/fish/completions/fetchml.fish
    """
    click.echo(script(shell, ctx.find_root().command))
