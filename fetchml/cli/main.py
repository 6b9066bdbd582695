"""The command `fetchml`. Commands are imported when they are called."""

import gc
import importlib
import os
import sys
from typing import NoReturn

import click

from fetchml import __version__
from fetchml.cli.errors import CommandError, ExitCode, show, wants_no_colour
from fetchml.cli.groups import CommandGroup
from fetchml.cli.parts import require_server
from fetchml.cli.printable import guarded
from fetchml.system import stdio

COMMANDS = {
    "The server": {
        "serve": "Run the server.",
        "keys": "Create, list and revoke API keys.",
        "audit": "List the actions of all users.",
        "service": "Run the server as a systemd service.",
        "backup": "Back up a data directory, also while its server runs.",
        "restore": "Create a data directory from a backup.",
        "doctor": "Check this machine, and show how to fix each problem.",
        "ui": "Print a link that signs in to the page, or open it.",
        "version": "Show the version.",
    },
    "Your servers": {
        "login": "Store a server and an API key, and use them from now on.",
        "logout": "Remove a stored server with its key.",
        "profiles": "List the stored servers, and choose the default one.",
        "secret": "Keep tokens and passwords for your tasks.",
        "completion": "Print the script that completes commands and ids in a shell.",
    },
    "Tasks": {
        "submit": "Submit a task.",
        "sbatch": "Submit a batch script of Slurm as a task.",
        "sweep": "Run a command with many sets of parameters.",
        "ls": "List tasks, newest first.",
        "show": "Show one task.",
        "logs": "Print the output of a task.",
        "outputs": "List or download the files that a task wrote.",
        "cp": "Copy files that a task wrote to this machine.",
        "watch": "Watch tasks change.",
        "cancel": "Cancel waiting or running tasks.",
        "retry": "Submit ended tasks again.",
        "rerun": "Submit a task again with other parameters or arguments.",
        "reproduce": "Run a task again as it ran, and report what differs.",
        "diff": "Compare two tasks in all that made them.",
        "passport": "Print all that another server needs to run a task again.",
        "label": "Set labels of a task.",
        "rm": "Remove ended tasks from the history.",
        "prune": "Remove old tasks, outputs, snapshots or environments.",
    },
    "Waiting and running tasks": {
        "priority": "Change the priority of a waiting task.",
        "timeout": "Change the time limit of a waiting or running task.",
        "hold": "Keep waiting tasks from starting.",
        "release": "Let held tasks start.",
        "start-after": "Set the earliest start of a waiting task.",
        "notify": "Set the webhooks of a waiting or running task.",
        "exec": "Run a command or a shell in a running task.",
        "port-forward": "Reach a port of a running task from this machine.",
        "drill": "Kill a task at random moments, and report the work lost.",
        "task": "Recover tasks of a cluster.",
    },
    "Experiments and code": {
        "experiment": "Group tasks in experiments and compare them.",
        "env": "List and remove environments of tasks.",
        "snapshot": "Upload folders of code for tasks to run.",
    },
    "History": {
        "sql": "Query everything that ever ran.",
        "export": "Take the history away as Parquet files.",
        "whatif": "Replay a period with other GPUs, quotas or scheduling.",
    },
    "Notifications": {
        "notifications": "Show webhooks that are not delivered, and set your addresses.",
    },
    "Notebooks": {
        "jupyter": "Run JupyterLab on the server's machine.",
    },
    "The queue and the GPUs": {
        "queue": "Show how many tasks wait, run, and ended today.",
        "gpus": "Show the GPUs and the tasks that hold them.",
        "gpu": "Drain GPUs, and put them back in service.",
        "reserve": "Reserve GPUs for a user and a time.",
        "reservations": "List reservations of GPUs, and remove them.",
        "usage": "Show GPU hours and ended tasks, by user and day.",
        "storage": "Show disk usage on the server, by user.",
        "top": "Show the queue, the GPUs and the tasks, live.",
    },
}

MODULES = {
    command: module
    for module, commands in {
        "backup": ("restore",),
        "environment_commands": ("env",),
        "gpu_commands": ("gpu", "gpus"),
        "notifications": ("notify",),
        "outputs": ("cp",),
        "profiles": ("login", "logout"),
        "reservations": ("reserve",),
        "rerun": ("reproduce",),
        "task_commands": (
            *("cancel", "hold", "label", "priority", "release"),
            *("retry", "rm", "start-after", "task", "timeout"),
        ),
        "task_lists": ("ls", "queue", "watch"),
        "service_commands": ("service",),
        "sql": ("export",),
        "usage_commands": ("storage", "usage"),
    }.items()
    for command in commands
}
"""Modules of the commands whose name is not that of their module."""

LINUX_ONLY = frozenset({"backup", "doctor", "restore", "serve", "service"})

EPILOG = """\b
Examples:
  fetchml serve                             start a server on this machine
  fetchml submit --wait -- echo hello       run a command and follow it
  fetchml submit --dir . --wait             upload this folder, run its code
  fetchml submit --dir . --image pytorch/pytorch --gpu 1 -- python train.py
  fetchml ls --status running               list the running tasks
  fetchml ls -o 'template={id} {job_name}'  choose the fields; also json, wide
  fetchml logs -f TASK_ID                   follow the output of a task
  fetchml exec -it TASK_ID -- bash          open a shell in a running task
  fetchml show @last                        show what you submitted last
  fetchml ui --open                         open the page in the browser
  fetchml gpus                              show the GPUs and their tasks
  fetchml jupyter start --open              open JupyterLab in the browser
  fetchml keys create ada                   create a key for a colleague

\b
Environment:
  FETCHML_SERVER    gRPC address of the server (default: that of 'fetchml
                    login', else 127.0.0.1:9102); https://HOST:PORT for TLS
  FETCHML_TLS_CA    PEM file with the certificate authorities to trust
  FETCHML_API_KEY   API key (default: that of 'fetchml login', else the admin
                    key of your server on this machine)
  FETCHML_PROFILE   name of the stored server to use
  NO_COLOR          set: no colours

\b
Exit codes:
  0  success                 3  the server is unreachable or busy
  1  failure                 4  API key missing, wrong, or not allowed
  2  wrong usage, or an      5  not found
     invalid request         6  not possible in the present state
  7  the results differ ('reproduce')
  130  interrupted           'submit --wait' exits with the task's exit code,
                             or with 125 if there is none
"""


class Commands(CommandGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for section in COMMANDS.values() for name in section]

    def find_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        if sys.platform != "linux" and name in LINUX_ONLY:
            raise CommandError(
                f"'fetchml {name}' runs on Linux only",
                "On this system, fetchml is a client: see 'fetchml login --help'.",
            )
        if name in LINUX_ONLY:
            require_server(f"'fetchml {name}'")
        function = name.replace("-", "_")
        module_name = MODULES.get(name, function)
        gc.disable()  # Imports leave no garbage: looking for it costs a tenth of the start.
        try:
            module = importlib.import_module(f"fetchml.cli.{module_name}")
        finally:
            gc.enable()
        command: click.Command = getattr(module, function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, section in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl(list(section.items()))


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"fetchml {__version__}")
        ctx.exit()


@click.command(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
def fetchml() -> None:
    """FetchML: a job server for machine-learning training.

    'fetchml COMMAND --help' describes a command, with examples.
    """


def main() -> NoReturn:
    """The console script."""
    stdio.complete()
    sys.stdout, sys.stderr = guarded(sys.stdout), guarded(sys.stderr)
    # grpc's own messages on stderr repeat the errors that the commands print.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # uvloop forks when the server runs a command, and grpc's fork handlers then close the
    # connections of clients, or write to them.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    try:
        if "_FETCHML_COMPLETE" in os.environ:
            from fetchml.cli import completion  # noqa: PLC0415  # it loads the client

            completion.register()
        colour = False if wants_no_colour() else None
        code = fetchml.main(prog_name="fetchml", standalone_mode=False, color=colour)
    except click.ClickException as error:
        show(error)
        code = error.exit_code
    except click.Abort:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout has exited, as `head` does: Python must not write to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.FAILED
    sys.exit(code or 0)
