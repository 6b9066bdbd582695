"""`python -m fetchml` is `fetchml`."""

from fetchml.cli.main import main

main()
