"""`--depth auto`: points are made once, found again while their inputs are the same, and nothing half-made stays."""

import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import typer

from dvr_cli.commands import stopping
from dvr_cli.commands.auto_depth import DESCRIPTION_NAME, POINTS_NAME, auto_depth
from dvr_cli.config import FAST
from dvr_cli.console import Output
from dvr_cli.errors import RunError
from dvr_cli.fitting.scene_description import read_described_scene
from dvr_cli.matching import triangulation
from dvr_cli.scenes.cameras import apply
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.synthetic import sphere, synthetic_scene, write_scene

RADIUS = 0.6
SETTINGS = FAST.model_copy(update={"threads": 1})


@pytest.fixture(scope="module")
def ball(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ball") / "scene"
    made, views, _ = synthetic_scene(sphere(RADIUS, shortest_wave=0.05), views=16, image_size=160)
    write_scene(folder, views, made.world_from_unit)
    return folder


@pytest.fixture(scope="module")
def made(ball, tmp_path_factory):
    """The folder with the points of all views but the first two."""
    folder = tmp_path_factory.mktemp("run") / "depth"
    auto_depth(read_described_scene(ball, {"masks": True, "view_range": "2-15"}), folder, SETTINGS, Output(quiet=True))
    return folder


@pytest.fixture
def no_triangulation(monkeypatch):
    def fail(*arguments):
        raise AssertionError("points are made again")

    monkeypatch.setattr(triangulation, "triangulated_points", fail)


def test_points_are_read_back_with_their_views(ball, made):
    for chosen, first in ((None, 2), ("2-15", 0), ("5-9", 0)):
        scene = read_scene(ball, depth=made / POINTS_NAME, view_range=chosen)
        pairs = scene.sparse_depth.visibility
        assert pairs[:, 0].min() == first and pairs[:, 0].max() == len(scene.views) - 1
        # Each point lies where its views see it: within the picture, on the ball.
        assert (
            np.median(np.abs(np.linalg.norm(apply(scene.unit_from_world, scene.sparse_depth.points), axis=1) - RADIUS))
            < 0.002
        )
        for view, point in pairs[:: max(1, len(pairs) // 50)]:
            pixel, depth = scene.views[view].camera.project(scene.sparse_depth.points[point][None])
            assert depth[0] > 0 and 0 <= pixel[0, 0] < 160 and 0 <= pixel[0, 1] < 120


def test_description_says_what_there_is(made):
    described = json.loads((made / DESCRIPTION_NAME).read_text())
    assert described["found"]["points"] >= 20 and described["found"]["views_per_point"] >= 3
    assert described["found"]["median_error_pixels"] < 2
    assert sorted(path.name for path in made.iterdir()) == [DESCRIPTION_NAME, POINTS_NAME]


def test_same_inputs_use_the_points_again(ball, made, no_triangulation, capsys):
    scene = read_described_scene(ball, {"masks": True, "view_range": "2-15"})
    before = (made / POINTS_NAME).read_bytes()
    # Where the region of interest is, and depth that is known already, have no say.
    again = replace(
        read_scene(ball, masks=True, view_range="2-15", depth=made / POINTS_NAME), unit_from_world=np.eye(4)
    )
    for same in (scene, again):
        assert auto_depth(same, made, SETTINGS, Output()) == made / POINTS_NAME
    assert (made / POINTS_NAME).read_bytes() == before and "made before" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"masks": True, "view_range": "2-14"}, {}),
        ({"masks": None, "view_range": "2-15"}, {}),
        ({"masks": True, "view_range": "2-15"}, {"seed": 7}),
    ],
    ids=["views", "masks", "seed"],
)
def test_other_inputs_make_them_again(ball, made, no_triangulation, tmp_path, options, changed):
    for name in (POINTS_NAME, DESCRIPTION_NAME):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    with pytest.raises(AssertionError, match="made again"):
        auto_depth(
            read_described_scene(ball, options), tmp_path, SETTINGS.model_copy(update=changed), Output(quiet=True)
        )
    # Without a description the old points count for nothing.
    assert not (tmp_path / DESCRIPTION_NAME).exists()


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_description_means_making_them_again(ball, made, no_triangulation, tmp_path, content):
    (tmp_path / POINTS_NAME).write_bytes((made / POINTS_NAME).read_bytes())
    (tmp_path / DESCRIPTION_NAME).write_bytes(content)
    scene = read_described_scene(ball, {"masks": True, "view_range": "2-15"})
    with pytest.raises(AssertionError, match="made again"):
        auto_depth(scene, tmp_path, SETTINGS, Output(quiet=True))


def test_a_stop_leaves_nothing_behind(ball, tmp_path, monkeypatch):
    @contextmanager
    def stopped(note):
        request = stopping.StopRequest(note)
        request.signal = 15
        yield request

    monkeypatch.setattr(stopping, "stop_on_signals", stopped)
    with pytest.raises(typer.Exit) as stop:
        auto_depth(read_described_scene(ball, {"masks": True}), tmp_path / "depth", SETTINGS, Output(quiet=True))
    assert stop.value.exit_code == 143 and list((tmp_path / "depth").iterdir()) == []


def test_a_place_that_cannot_be_written(ball, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="Cannot write"):
        auto_depth(
            read_described_scene(ball, {"masks": True}), tmp_path / "file" / "depth", SETTINGS, Output(quiet=True)
        )
