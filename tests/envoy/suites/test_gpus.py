from tests.api.test_gpus import *  # noqa: F403
