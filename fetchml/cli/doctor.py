"""`fetchml doctor`"""

import click
from rich.text import Text

from fetchml.cli.client import json_option
from fetchml.cli.failure import Exit
from fetchml.cli.render import clean, print_json, show, table
from fetchml.cli.settings import settings_options
from fetchml.doctor import examine
from fetchml.settings import Settings


@click.command()
@settings_options
@json_option
def doctor(settings: Settings, *, as_json: bool) -> int:
    """Say what works on this machine, what does not, and how to mend it.

    Takes the options of 'fetchml serve', and looks at what such a server would meet. Changes
    nothing. Ends with 1 if there is a problem.
    """
    checks = list(examine(settings))
    well = all(check.ok for check in checks)
    if as_json:
        found = [
            {"name": check.name, "ok": check.ok, "says": check.says}
            | ({"mend": check.mend} if check.mend else {})
            for check in checks
        ]
        print_json({"ok": well, "checks": found})
        return 0 if well else Exit.FAILED
    shown = table("", "", "")
    shown.show_header = False
    for check in checks:
        state = Text("ok", "green") if check.ok else Text("problem", "red")
        shown.add_row(state, Text(check.name), clean(check.says))
        if check.mend:
            shown.add_row("", "", clean(f"→ {check.mend}"))
    show(shown)
    return 0 if well else Exit.FAILED
