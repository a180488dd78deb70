"""Views that are made once, and the number of threads put back after each test."""

import pytest

from dvr_cli.kernels import launch
from tests.kernels.tiny_views import ball_views, plane_views


@pytest.fixture(autouse=True)
def one_thread():
    """Tests begin and end with one thread, whatever they set in between."""
    launch.set_threads(1)
    yield
    launch.set_threads(1)


@pytest.fixture(scope="session")
def ball():
    return ball_views()


@pytest.fixture(scope="session")
def plane():
    return plane_views()
