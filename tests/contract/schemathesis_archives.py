"""Archives for schemathesis to upload. Schemathesis loads this file itself."""

import schemathesis
from hypothesis import strategies as st

from tests.support.archives import archive

names = st.text("abc", min_size=1, max_size=5)
archives = st.dictionaries(names, st.binary(max_size=20), min_size=1, max_size=4).map(archive)
schemathesis.openapi.media_type("application/gzip", archives)
