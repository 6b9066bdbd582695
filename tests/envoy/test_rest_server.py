from tests.api.test_rest_server import *  # noqa: F403
