from tests.api.test_rest_errors import *  # noqa: F403
