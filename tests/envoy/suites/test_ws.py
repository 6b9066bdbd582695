from tests.api.test_ws import *  # noqa: F403
