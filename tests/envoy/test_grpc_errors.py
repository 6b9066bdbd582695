from tests.api.test_grpc_errors import *  # noqa: F403
