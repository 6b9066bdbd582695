"""Rules of Jupyter services."""
