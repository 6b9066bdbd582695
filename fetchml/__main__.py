"""`python -m fetchml` is `fetchml`."""

import sys

from fetchml.cli.main import main

if getattr(sys, "frozen", False):
    # In the executable only: it needs Linux, and the client runs elsewhere too.
    from fetchml.ops import pyinstaller
    from fetchml.system import stdio

    pyinstaller.run_part()
    stdio.complete()
    pyinstaller.set_up()
main()
