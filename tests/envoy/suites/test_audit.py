from tests.api.test_audit import *  # noqa: F403
