from tests.server.test_parity import *  # noqa: F403
