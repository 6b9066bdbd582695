"""`python -m fetchml` is `fetchml`."""

from fetchml.cli.main import main
from fetchml.ops import pyinstaller, stdio

stdio.complete()
pyinstaller.set_up()
main()
