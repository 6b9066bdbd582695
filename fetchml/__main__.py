"""`python -m fetchml` is `fetchml`."""

from fetchml import frozen, standard_files
from fetchml.cli.main import main

standard_files.complete()
frozen.set_up()
main()
