from tests.api.test_grpc_tasks import *  # noqa: F403
