"""`<data-dir>/jupyter.key`: the key from which the tokens of Jupyter services are derived."""

from pathlib import Path

from fetchml.files import own_file
from fetchml.files.layout import JUPYTER_KEY


def load_key(data_dir: Path) -> bytes:
    """Return the key; see `own_file.load_key`. Raises OSError."""
    return own_file.load_key(data_dir / JUPYTER_KEY)
