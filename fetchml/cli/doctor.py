"""`fetchml doctor`"""

import click
from rich.table import Table
from rich.text import Text

from fetchml.cli.connect import json_option
from fetchml.cli.errors import ExitCode
from fetchml.cli.render import clean, print_json, show
from fetchml.cli.settings_options import settings_options
from fetchml.config.settings import Settings
from fetchml.ops.doctor import examine
from fetchml.views import Finding


@click.command()
@settings_options
@click.option(
    "--probe",
    is_flag=True,
    help="On a cluster: run a job on a node that checks the shared folder, Python and the clock.",
)
@json_option
def doctor(settings: Settings, *, probe: bool, as_json: bool) -> int:
    """Check this machine: Docker, GPUs, disk, clock, ports, permissions.

    Shows how to fix each problem. Takes the options of 'fetchml serve', and checks what that
    server needs. Changes nothing. Exits with 1 if there is a problem, with 0 if there is only
    advice.
    """
    if probe and settings.server.launcher != "slurm":
        raise click.UsageError("--probe is for a cluster: [server] launcher is not slurm")
    checks = list(examine(settings, probe=probe))
    well = all(check.ok for check in checks)
    if as_json:
        findings = [
            {"name": check.name, "ok": check.ok, "says": check.finding}
            | ({"mend": check.fix} if check.fix else {})
            | ({"advice": check.advice} if check.advice else {})
            for check in checks
        ]
        print_json({"ok": well, "checks": findings})
        return 0 if well else ExitCode.FAILED
    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column(no_wrap=True)
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for check in checks:
        shown.add_row(_state(check), Text(check.name), clean(check.finding))
        if todo := check.fix or check.advice:
            shown.add_row("", "", clean(f"→ {todo}"))
    show(shown)
    return 0 if well else ExitCode.FAILED


def _state(check: Finding) -> Text:
    if not check.ok:
        return Text("problem", "red")
    return Text("advice", "yellow") if check.advice else Text("ok", "green")
