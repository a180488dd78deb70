"""Whole runs on a GPU: they find what runs on a CPU find, and go on from one another. Skipped where there is no GPU."""

import numpy as np
import pytest
import torch
from cuda_device import needs_cuda

from dvr_cli.config import Settings
from dvr_cli.fitting.devices import resolve_device
from dvr_cli.fitting.reconstruct import load_field
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.scenes.cameras import apply
from tests.fitting.test_network_runs import TINY_PAPER, TINY_SMALL
from tests.fitting.tiny_runs import TINY, Observer, fit, mesh_of

pytestmark = needs_cuda
RADIUS = 0.6
"""Of `ball`."""


def on_cuda(settings: Settings) -> Settings:
    return settings.model_copy(update={"device": "cuda"})


@pytest.fixture(scope="module")
def cuda_run(ball, tmp_path_factory):
    """(folder, summary) of a whole run on the sphere."""
    folder = tmp_path_factory.mktemp("cuda") / "run"
    return folder, fit(ball[0], folder, on_cuda(TINY))


def test_devices_have_their_number():
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda", 0)


def test_sphere_is_found_as_on_a_cpu(ball, ball_run, cuda_run):
    mesh = mesh_of(cuda_run[0])
    from_centre = np.linalg.norm(apply(ball[0].unit_from_world, mesh.vertices), axis=1)
    # A voxel of the last level is 0.05.
    assert np.abs(from_centre - RADIUS).mean() < 0.01
    assert cuda_run[1].psnr == pytest.approx(ball_run[1].psnr, abs=0.5)
    assert cuda_run[1].silhouette_iou == pytest.approx(ball_run[1].silhouette_iou, abs=0.01)


@pytest.mark.parametrize(("first", "then"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_run_goes_on_on_another_device(ball, ball_run, tmp_path, first, then):
    start, rest = (TINY.model_copy(update={"device": device}) for device in (first, then))
    stopped = fit(ball[0], tmp_path / "run", start, Observer(25))
    assert not stopped.finished
    resumed = fit(ball[0], tmp_path / "run", rest, resume=True)
    assert resumed.finished and resumed.resumed_from == 25
    assert resumed.psnr == pytest.approx(ball_run[1].psnr, abs=0.5)


def test_a_field_can_be_read_on_either_device(cuda_run):
    run = RunFolder.open(cuda_run[0])
    on_cpu, _ = load_field(run)
    there, _ = load_field(run, "cuda")
    points = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    with torch.no_grad():
        torch.testing.assert_close(
            there.value(points.to(resolve_device("cuda"))).cpu(), on_cpu.value(points), atol=1e-5, rtol=0
        )


def test_networks_learn_there_as_well(ball, tmp_path):
    paper = fit(ball[0], tmp_path / "paper", on_cuda(TINY_PAPER))
    small = fit(ball[0], tmp_path / "small", on_cuda(TINY_SMALL))
    assert paper.finished and paper.silhouette_iou > 0.6
    assert small.finished and small.silhouette_iou > 0.85
