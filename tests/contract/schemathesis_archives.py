"""Archives for schemathesis to upload. Schemathesis loads this file itself."""

import io
import tarfile

import schemathesis
from hypothesis import strategies as st


def archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


names = st.text("abc", min_size=1, max_size=5)
archives = st.dictionaries(names, st.binary(max_size=20), min_size=1, max_size=4).map(archive)
schemathesis.openapi.media_type("application/gzip", archives)
