"""Scenes of two or three photographs: little is known, but what there is counts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dvr_cli.fitting.grid_kind import compared_views
from dvr_cli.fitting.initial import neighbour_views
from dvr_cli.kernels.draws import choose_sources
from dvr_cli.kernels.views import stack_views
from dvr_cli.scenes.images import load_views
from tests.fitting.tiny_runs import TINY, Observer, fit, mesh_of


def nearest_views(scene, count):
    """The scene with its first view and those that look from the nearest directions."""
    stack = stack_views(load_views(scene, 48), scene.unit_from_world, 1, torch.device("cpu"))
    chosen = [0, *neighbour_views(stack, count - 1)[0].tolist()]
    return replace(scene, views=tuple(scene.views[index] for index in chosen))


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_every_ray_is_compared_with_all_there_is(ball, count):
    """With at least two views, if there are two others."""
    scene = nearest_views(ball[0], count)
    stack = stack_views(load_views(scene, 48), scene.unit_from_world, 1, torch.device("cpu"))
    table = compared_views(stack, TINY.photometric)
    ray_views = torch.arange(1000) % count
    sources = choose_sources(table, ray_views.int(), -torch.ones(1000), TINY.photometric.sources, 1.0, 0)
    assert (sources != ray_views[:, None]).all()
    distinct = [len({source for source in row if source >= 0}) for row in sources.tolist()]
    assert min(distinct) >= min(2, count - 1) and max(distinct) <= count - 1


def test_one_view_is_compared_with_none(ball):
    scene = replace(ball[0], views=ball[0].views[:1])
    stack = stack_views(load_views(scene, 48), scene.unit_from_world, 1, torch.device("cpu"))
    assert (compared_views(stack, TINY.photometric) == -1).all()


@pytest.mark.parametrize("count", [2, 3])
def test_few_views_give_a_surface_that_photographs_have_shaped(ball, tmp_path, count):
    observer = Observer()
    summary = fit(nearest_views(ball[0], count), tmp_path / "run", observer=observer)
    assert summary.finished and summary.silhouette_iou > 0.9
    # 1 - NCC of what could be compared; exactly zero would mean nothing.
    assert 0.02 < np.mean([report.losses["photometric"] for report in observer.steps]) < 0.9
    assert len(mesh_of(tmp_path / "run").faces) > 100
