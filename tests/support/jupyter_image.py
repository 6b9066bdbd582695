"""An image whose `jupyter` is a stand-in."""

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.docker_engine import Engine


@contextmanager
def jupyter_image(engine: Engine, base: str, stand_in: Path, name: str) -> Iterator[str]:
    """Yield `name` while there is such an image, made of the image `base`."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for file, data, mode in (
            ("Dockerfile", f"FROM {base}\nCOPY jupyter /usr/local/bin/\n".encode(), 0o644),
            ("jupyter", stand_in.read_bytes(), 0o755),
        ):
            entry = tarfile.TarInfo(file)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
    context.seek(0)
    engine.client.images.build(fileobj=context, custom_context=True, tag=name, rm=True)
    yield name
    engine.client.images.remove(name, force=True)
