"""The command `fetchml`. A command's module is loaded when the command is called."""

import gc
import importlib
import os
import sys
from typing import NoReturn

import click

from fetchml.cli.errors import ExitCode
from fetchml.ops import stdio

COMMANDS = {
    "The server": {
        "serve": "Run the server.",
        "keys": "Make, list and revoke API keys.",
        "audit": "List who did what.",
        "service": "Run the server as a systemd service.",
        "backup": "Write all that a server keeps to a file, also while it runs.",
        "restore": "Make a data directory from a backup.",
        "doctor": "Say what works on this machine, what does not, and how to mend it.",
        "version": "Show the versions.",
    },
    "Tasks": {
        "submit": "Submit a training task.",
        "ls": "List tasks, newest first.",
        "show": "Show all about a task.",
        "logs": "Print what a task wrote.",
        "watch": "Follow the changes of tasks.",
        "cancel": "End tasks that wait or run.",
        "rm": "Remove ended tasks from the history.",
        "prune": "Remove old tasks, outputs or snapshots.",
    },
    "Experiments and code": {
        "experiment": "Group tasks, and compare them.",
        "snapshot": "Keep folders of code for tasks to run.",
    },
    "Notebooks": {
        "jupyter": "Work in JupyterLab on the server's machine.",
    },
    "The queue and the GPUs": {
        "queue": "Show the numbers of the queue.",
        "gpus": "Show the GPUs, and who has them.",
        "gpu": "Take GPUs out of use, and put them back to work.",
        "storage": "Show who has what on the server's disk.",
        "top": "Show the queue and what runs, live.",
    },
}

EPILOG = """\b
Examples:
  fetchml serve                                     start a server on this machine
  fetchml submit --wait -- python train.py --lr 0.1  run, follow, end as the task ends
  fetchml submit --dir . --wait                     send this folder's code, run it
  fetchml submit --image pytorch/pytorch --gpu 1 -- python train.py
  fetchml ls --status running                       what runs
  fetchml gpus                                      which GPUs are free, who has the others
  fetchml logs -f TASK_ID                           follow its output
  fetchml jupyter start --open                      JupyterLab, in the browser
  fetchml keys create ada                           a key for a colleague

\b
Environment:
  FETCHML_SERVER    address of the server's gRPC (default 127.0.0.1:9102),
                    https://HOST:PORT with TLS
  FETCHML_TLS_CA    file with the authorities that are trusted, in PEM
  FETCHML_API_KEY   API key (default: the admin key of a server of yours on this machine)

\b
Exit codes:
  0  done              3  the server is not reached, or busy
  1  failed            4  the API key is refused
  2  wrong usage, or   5  nothing has that id
     a refused request 6  not possible in the task's state
  130  interrupted. 'submit --wait' ends with the task's own exit code.
"""


class Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        gc.disable()  # Modules are kept: to look for garbage in them costs a tenth of the start.
        try:
            module = importlib.import_module(f"fetchml.cli.{cmd_name}")
        finally:
            gc.enable()
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, section in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl(list(section.items()))


@click.command(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def fetchml() -> None:
    """FetchML: a job server for machine-learning training.

    'fetchml COMMAND --help' says more about each command.
    """


def main() -> NoReturn:
    """The console script."""
    stdio.complete()
    # grpc's own messages on stderr repeat what the commands say in plain words.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        code = fetchml.main(prog_name="fetchml", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does; Python must not write to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.FAILED
    sys.exit(code or 0)
