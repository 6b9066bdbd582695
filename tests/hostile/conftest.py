"""Real servers for hostile clients."""

from tests.engine.conftest import box  # noqa: F401
from tests.server.conftest import processes_backend, serve  # noqa: F401
