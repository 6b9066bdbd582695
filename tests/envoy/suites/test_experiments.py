from tests.api.test_experiments import *  # noqa: F403
