"""Real servers for hostile clients."""

from tests.server.conftest import processes_backend, serve  # noqa: F401
