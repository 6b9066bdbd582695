"""`python -m fetchml` is `fetchml`."""

from fetchml.cli.main import main
from fetchml.ops import pyinstaller, stdio

pyinstaller.run_part()
stdio.complete()
pyinstaller.set_up()
main()
