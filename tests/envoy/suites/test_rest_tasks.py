from tests.api.test_rest_tasks import *  # noqa: F403
