"""`dvr demo`: its scene reads back as made, its measure is zero for the exact surface, and it goes the whole way."""

import json
from functools import partial

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from dvr_cli.commands import demo
from dvr_cli.config import PRESETS
from dvr_cli.errors import RunError
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.fitting.scene_description import read_described_scene
from dvr_cli.scenes.images import load_views
from dvr_cli.surfaces import exact

STEPS = 12


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(demo, "VIEWS", 4)
    monkeypatch.setattr(demo, "IMAGE_SIZE", 64)
    monkeypatch.setattr(exact, "exact_surface", partial(exact.exact_surface, resolution=48))
    monkeypatch.setattr(demo, "SAMPLES", 2000)
    monkeypatch.setattr(demo, "PICTURED_VIEWS", (0, 2))


def test_demo_scene_reads_back_as_it_was_made(small, tmp_path):
    _, views = demo.make_demo_scene(tmp_path / "scene")
    scene = read_described_scene(tmp_path / "scene", {"masks": True})
    for made, read in zip(views, load_views(scene, None), strict=True):
        assert made.name == read.name
        np.testing.assert_allclose(read.camera.intrinsics, made.camera.intrinsics, atol=1e-6)
        np.testing.assert_allclose(read.camera.camera_from_world, made.camera.camera_from_world, atol=1e-9)
        np.testing.assert_array_equal(read.mask, made.mask)
        np.testing.assert_allclose(read.image, made.image, atol=0.51 / 255)


def test_demo_scene_keeps_its_similarity(small, tmp_path):
    from dvr_cli.scenes.synthetic import synthetic_scene

    demo.make_demo_scene(tmp_path / "scene")
    scene = read_described_scene(tmp_path / "scene", {"masks": True})
    expected = synthetic_scene(views=4, image_size=64)[0]
    np.testing.assert_allclose(scene.unit_from_world, expected.unit_from_world, atol=1e-9)


def test_a_foreign_scene_is_not_replaced(small, tmp_path):
    cameras = tmp_path / "scene" / "cameras.npz"
    cameras.parent.mkdir()
    cameras.write_bytes(b"somebody's")
    with pytest.raises(RunError, match="already holds scene, not made by dvr demo"):
        demo.check_folder(tmp_path)
    assert cameras.read_bytes() == b"somebody's"


def test_a_file_is_no_folder_to_write_into(tmp_path):
    (tmp_path / "out").write_text("somebody's")
    with pytest.raises(RunError, match="out is a file"):
        demo.check_folder(tmp_path / "out")


def test_an_earlier_demo_is_replaced_but_not_a_foreign_run_beside_it(small, tmp_path):
    demo.check_folder(tmp_path)
    demo.make_demo_scene(tmp_path / "scene")
    demo.check_folder(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "letter.txt").write_text("somebody's")
    with pytest.raises(RunError, match="not empty and not a run"):
        demo.check_folder(tmp_path)


def test_exact_surface_measures_zero_and_is_drawn(small, tmp_path):
    shape, views = demo.make_demo_scene(tmp_path / "scene")
    scene = read_described_scene(tmp_path / "scene", {"masks": True})
    reference = exact.exact_surface(shape, scene.world_from_unit)
    found = demo.measure(reference, reference)
    assert found.chamfer_percent < 1e-4 and found.f_score == 1
    demo.draw_comparison(tmp_path / "comparison.png", reference, reference, shape, scene, views)
    assert (tmp_path / "comparison.png").stat().st_size > 10_000


def test_demo_goes_from_photographs_to_a_measured_mesh(small, tmp_path, monkeypatch):
    """A few steps from a dozen tiny photographs: far from good, but the object and in its place."""
    monkeypatch.setattr(demo, "VIEWS", 12)
    planned = sum(level.steps for level in PRESETS["fast"].levels if level.voxels <= demo.FINEST_VOXELS)
    monkeypatch.setattr(demo, "STEPS_SHARE", STEPS / planned)
    app = typer.Typer()
    app.command()(demo.demo_command)
    result = CliRunner().invoke(app, ["--out", str(tmp_path / "out"), "--json", "-q", "--threads", "1"])
    assert result.exit_code == 0, result.stderr or result.exception
    values = json.loads(result.stdout)
    assert RunFolder.open(tmp_path / "out" / "run").summary["steps"] == STEPS
    assert values["chamfer_percent"] < 3
    for name in ("demo.ply", "comparison.png", "run/scene.json", "scene/cameras.npz"):
        assert (tmp_path / "out" / name).is_file()
