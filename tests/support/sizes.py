"""How large the largest tests are: a user's case at its limit takes a minute, and once in a while is enough."""

import os


def largest(full: int, usual: int) -> int:
    """`full` where the environment variable DVR_TEST_LARGE is set, `usual` otherwise."""
    return full if os.environ.get("DVR_TEST_LARGE") else usual
