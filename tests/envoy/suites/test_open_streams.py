from tests.api.test_open_streams import *  # noqa: F403
