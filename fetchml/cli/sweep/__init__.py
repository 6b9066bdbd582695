"""`fetchml sweep`"""

from fetchml.cli.sweep.commands import sweep

__all__ = ["sweep"]
