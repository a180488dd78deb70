"""Scenes that several tests of the loop share, written once."""

import pytest

from dvr_cli.scenes.synthetic_shapes import sphere
from tests.fitting.tiny_runs import TINY, Observer, fit, write_tiny_scene


@pytest.fixture(scope="session")
def ball(tmp_path_factory):
    """(scene, exact shape): a textured sphere."""
    shape = sphere(0.6, shortest_wave=0.1)
    return write_tiny_scene(tmp_path_factory.mktemp("ball") / "scene", shape), shape


@pytest.fixture(scope="session")
def ball_run(ball, tmp_path_factory):
    """(folder, summary, observer) of a whole run on the sphere."""
    folder, observer = tmp_path_factory.mktemp("ball_run") / "run", Observer()
    return folder, fit(ball[0], folder, TINY, observer), observer
