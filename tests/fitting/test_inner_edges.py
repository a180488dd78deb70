"""Edges within the silhouette: a small plate in front of a large one, modelled too small, right and too large."""

from typing import Any

import numpy as np
import pytest
import torch

from dvr_cli.fields.grid import GridField, gradient_buffer
from dvr_cli.fitting.initial import neighbour_views
from dvr_cli.fitting.inner_edges import Compared, add_inner_edges
from dvr_cli.fitting.pixels import pixel_pool
from dvr_cli.kernels.inner_edges import FARTHEST
from dvr_cli.kernels.patches import patch_ncc
from dvr_cli.kernels.views import OBJECT, ViewArrays, stack_views
from dvr_cli.rendering.surface import first_hit, surface_at
from dvr_cli.scenes.synthetic import synthetic_scene
from dvr_cli.scenes.synthetic_shapes import Blend, RoundedBox, Shape, solid_texture
from tests.fitting.tiny_runs import TINY

N, SIZE = 65, 160
VOXEL = 2 / (N - 1)


def plates(too_wide: float = 0.0) -> Shape:
    """The small plate's sides lie `too_wide` farther out than they should."""
    small = RoundedBox((0.24 + too_wide, 0.24 + too_wide, 0.02), 0.05, (0.0, 0.0, 0.4))
    large = RoundedBox((0.55, 0.55, 0.02), 0.05, (0.0, 0.0, -0.3))
    return Shape(Blend(small, large, softness=1e-3), solid_texture(np.random.default_rng(0), 9 / SIZE), 0.9)


@pytest.fixture(scope="module")
def stack() -> ViewArrays:
    scene, loaded, _ = synthetic_scene(plates(), views=16, image_size=SIZE)
    return stack_views(loaded, scene.unit_from_world, 1, torch.device("cpu"))


def field_of(shape: Shape) -> GridField:
    axis = np.linspace(-1, 1, N)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    return GridField(torch.as_tensor(shape.value(points)).float().reshape(N, N, N))


def ask(field: GridField, stack: ViewArrays, **losses: Any) -> None:
    """Let all rays on the object ask: the field's gradient and curvature hold what they want."""
    settings = TINY.model_copy(update={"losses": TINY.losses.model_copy(update=losses)})
    pool = pixel_pool(stack, 0)
    looks = pool.look(stack, torch.arange(len(pool.views), dtype=torch.int32))
    hits = first_hit(field, looks.origins, looks.directions)
    index = (hits.hit & (looks.masks == OBJECT)).nonzero().squeeze(1)
    views, pixels, o, d, t = (
        part[index] for part in (looks.views, looks.pixels, looks.origins, looks.directions, hits.t)
    )
    sources = neighbour_views(stack, 4)[views.long()].contiguous()
    normals = surface_at(field, o, d, t).normals.detach().contiguous()
    found = patch_ncc(
        stack, views, pixels, d, t, normals, torch.zeros(len(t), 2), sources, keep=2, radius=2, noise=0.01
    )
    rays = Compared(views, pixels, o, d, t, sources, found.loss, found.curvature)
    add_inner_edges(field, stack, rays, settings, settings.levels[0], (1, 2))


def test_a_rim_that_falls_short_is_pulled_out_and_one_that_is_too_wide_pushed_in(stack):
    """Where the gradient is positive a step lowers values, and the surface grows.

    With 40 seeds a rim that is right was pulled by up to 220, and with eight the others by 580 and more.
    """
    pulls = {}
    for voxels in (-1.5, 0.0, 1.5):
        field = field_of(plates(voxels * VOXEL))
        ask(field, stack, inner_edges=1.0)
        pulls[voxels] = float(gradient_buffer(field.sdf).sum())
    assert pulls[-1.5] > 4 * abs(pulls[0.0])
    assert pulls[1.5] < -4 * abs(pulls[0.0])


def test_it_is_the_rim_of_the_near_surface_that_is_asked(stack):
    """Hardly anything is asked of the large plate, or of the small one far from its rim."""
    for voxels in (-1.5, 1.5):
        field = field_of(plates(voxels * VOXEL))
        ask(field, stack, inner_edges=1.0)
        touched = field.sdf_curvature.nonzero()
        asked = field.sdf_curvature[tuple(touched.T)]
        points = touched * VOXEL - 1
        from_rim = points[:, :2].abs().amax(dim=1) - (0.29 + voxels * VOXEL)
        # A vertex lies up to a voxel from a point that touches it.
        at_rim = (points[:, 2] > 0.4 - 0.07 - VOXEL) & (from_rim.abs() < (FARTHEST + 1) * VOXEL)
        assert len(touched) > 50
        assert asked[at_rim].sum() > 0.9 * asked.sum()


def test_the_weight_scales_gradient_and_curvature(stack):
    shape = plates(-1.5 * VOXEL)
    found = []
    for weight in (0.0, 0.5, 1.0):
        field = field_of(shape)
        ask(field, stack, inner_edges=weight)
        found.append((float(gradient_buffer(field.sdf).sum()), float(field.sdf_curvature.sum())))
    assert found[0] == (0.0, 0.0)
    assert found[2][1] > 0
    np.testing.assert_allclose(2 * np.array(found[1]), found[2], rtol=1e-4)
