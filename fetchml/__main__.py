"""`python -m fetchml` is `fetchml`."""

from fetchml import frozen
from fetchml.cli.main import main

frozen.set_up()
main()
