"""`fetchml top` on a terminal: tasks, GPUs and a log, kept up to date by the server."""
