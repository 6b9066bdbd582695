from tests.api.test_grpc_standard import *  # noqa: F403
