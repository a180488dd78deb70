"""Laws of the whole reconstruction: it finds the surface, says how it goes, and leaves a run that can be read."""

import math
from dataclasses import replace

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from dvr_cli.comparing.metrics import surface_distance
from dvr_cli.errors import DeviceError, RunError, SceneError
from dvr_cli.fitting.devices import resolve_device, said_of
from dvr_cli.fitting.events import Message
from dvr_cli.fitting.reconstruct import load_field
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.surfaces.topology import is_watertight
from tests.fitting.tiny_runs import TINY, Observer, exact_mesh, fit, mesh_of, write_tiny_scene


def test_sphere_is_found(ball, ball_run):
    scene, shape = ball
    folder, summary, _ = ball_run
    found = surface_distance(mesh_of(folder), exact_mesh(shape, scene), 20_000, np.random.default_rng(0))
    # A voxel of the last level is 1.6 % of the diagonal.
    assert found.chamfer_percent < 0.5, found.chamfer_percent
    assert summary.silhouette_iou > 0.95 and summary.psnr > 22


def test_summary_and_reports_agree(ball_run):
    _, summary, observer = ball_run
    planned = sum(level.steps for level in TINY.levels)
    last = observer.steps[-1]
    assert summary.finished and summary.steps == planned and summary.resumed_from is None
    assert (last.step, last.steps) == (planned, planned)
    assert (summary.psnr, summary.silhouette_iou) == (last.psnr, last.silhouette_iou)
    assert [report.step for report in observer.steps] == sorted({report.step for report in observer.steps})
    assert all(math.isfinite(value) for report in observer.steps for value in report.losses.values())
    assert 0.01 < summary.peak_memory_gb < 100


def test_metrics_are_one_line_per_level_at_least(ball_run):
    folder, summary, _ = ball_run
    lines = RunFolder.open(folder).read_metrics()
    assert {line["level"] for line in lines} == {0, 1}
    assert lines[-1]["step"] == summary.steps and lines[-1]["psnr"] == summary.psnr


def test_surface_is_closed_within_the_cube(ball_run):
    field, _ = load_field(RunFolder.open(ball_run[0]))
    sdf = field.sdf.detach().numpy()
    walls = (sdf[0], sdf[-1], sdf[:, 0], sdf[:, -1], sdf[:, :, 0], sdf[:, :, -1])
    assert all((wall > 0).all() for wall in walls)


def test_black_masks_are_refused_before_anything_is_written(ball, tmp_path):
    scene = write_tiny_scene(tmp_path / "scene", ball[1], views=4, image_size=48)
    for view in scene.views:
        imageio.imwrite(view.mask_path, np.zeros((36, 48), np.uint8))
    with pytest.raises(SceneError, match="hull is empty"):
        fit(scene, tmp_path / "run")
    assert RunFolder.open(tmp_path / "run").load_checkpoint() is None


def test_every_level_leaves_a_picture(ball_run):
    for number in (1, 2):
        picture = imageio.imread(ball_run[0] / "previews" / f"level_{number}.png")
        photograph, colours, shape = np.split(picture.astype(float), 3, axis=1)
        assert np.abs(photograph - colours).mean() < 0.25 * np.abs(photograph - photograph.mean()).mean() + 20
        assert shape.std() > 20


def test_one_view_gives_a_surface_with_its_silhouette(ball, tmp_path):
    scene = replace(ball[0], views=ball[0].views[:1])
    summary = fit(scene, tmp_path / "run")
    assert summary.finished and summary.silhouette_iou > 0.9
    assert len(mesh_of(tmp_path / "run").faces) > 100


def test_scene_without_masks_starts_from_the_region_of_interest(ball, tmp_path):
    """A few steps cannot make the object of it, but what is there is a closed surface within the cube."""
    views = tuple(replace(view, mask_path=None) for view in ball[0].views)
    scene = replace(ball[0], views=views)
    assert fit(scene, tmp_path / "run").finished
    mesh = mesh_of(tmp_path / "run")
    in_unit = mesh.vertices @ scene.unit_from_world[:3, :3].T + scene.unit_from_world[:3, 3]
    assert is_watertight(mesh) and 0.5 < np.abs(in_unit).max() < 1.1


def test_unknown_device_is_named_with_those_that_exist(ball, tmp_path):
    settings = TINY.model_copy(update={"device": "cuda:97"})
    with pytest.raises(DeviceError, match=r"no device cuda:97.*found cpu.*--device"):
        fit(ball[0], tmp_path / "run", settings)


def test_auto_is_a_device_that_exists():
    assert resolve_device("auto") == resolve_device(str(resolve_device("auto")))


def test_a_gpu_is_named_and_a_cpu_is_not(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    assert said_of(torch.device("cpu")) is None
    assert said_of(torch.device("cuda", 1)) == Message("Computing on cuda:1, GPU 1")


def test_field_of_a_run_without_checkpoint_is_an_error(ball, tmp_path):
    observer = Observer()
    summary = fit(ball[0], tmp_path / "run", TINY, observer, should_stop=lambda: True)
    assert not summary.finished and summary.steps == 0
    with pytest.raises(RunError, match="no checkpoint yet"):
        load_field(RunFolder.open(tmp_path / "run"))
