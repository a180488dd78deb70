"""Surfaces that no photograph looks at squarely are pulled tight between those that some do, and nothing else moves."""

import numpy as np
import pytest
import torch

from dvr_cli.fields.grid import GridField
from dvr_cli.fitting.hardly_seen import DEEPEST, keep_tight, loose_vertices, with_least_area
from dvr_cli.kernels.views import stack_views
from dvr_cli.scenes.synthetic import cameras_around
from dvr_cli.scenes.views import LoadedView

N = 48
VOXEL = 2 / (N - 1)
BOTTOM = -0.4
BULGE = 1.2 * VOXEL
"""Depth of the cap below a cylinder's flat end: at its rim it is 12 degrees steep, which level cameras hardly see."""
RADIUS = 0.5
NOWHERE = torch.zeros(0, 3)
"""Points that contours touch."""


def cylinder(bulge: float) -> torch.Tensor:
    """Signed distances, nearly, to an upright cylinder whose lower end is a cap of that depth."""
    axis = torch.linspace(-1, 1, N)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    across = (x.square() + y.square()).sqrt()
    below = BOTTOM - z - bulge * (1 - (across / RADIUS).square()).clamp(min=0)
    return torch.maximum(torch.maximum(across - RADIUS, z - 0.6), below)


def lowest(sdf: torch.Tensor) -> torch.Tensor:
    """Height of the lower surface on the lines through x and y along z, where they meet the inner part of the end."""
    axis = torch.linspace(-1, 1, N)
    inner = (axis[:, None].square() + axis[None].square()).sqrt() < 0.6 * RADIUS
    lines = sdf[inner]
    first = (lines < 0).int().argmax(dim=1, keepdim=True)
    outside, inside = lines.gather(1, first - 1).squeeze(1), lines.gather(1, first).squeeze(1)
    return axis[first.squeeze(1)] - VOXEL * inside / (inside - outside)


def views_from(heights):
    """Cameras around the cylinder at these heights, all at a distance of four."""
    views = []
    for index, height in enumerate(np.repeat(heights, 8)):
        angle = np.pi / 4 * index
        ring = np.sqrt(16 - height**2)
        camera = cameras_around(1, 32, np.random.default_rng(0), np.eye(4))[0]
        pose = camera.camera_from_world.copy()
        pose[:3, 3] = -pose[:3, :3] @ np.array([ring * np.cos(angle), ring * np.sin(angle), height])
        moved = type(camera)(camera.intrinsics, pose, camera.height, camera.width)
        views.append(LoadedView(f"{index}.png", moved, np.zeros((camera.height, camera.width, 3), np.float32), None))
    return stack_views(views, np.eye(4), 1, torch.device("cpu"))


def test_an_end_that_cameras_only_graze_becomes_flat():
    before = cylinder(BULGE)
    after = with_least_area(GridField(before), views_from([2.0, 0.0]), NOWHERE).sdf
    assert (BOTTOM - lowest(before)).max() > 0.9 * BULGE
    assert (lowest(after) - BOTTOM).abs().max() < 0.3 * BULGE
    assert (after >= before).all(), "nothing is added"
    seen = np.s_[:, :, N // 2 :]
    assert torch.equal(after[seen], before[seen]), "what cameras see stays"


def test_an_end_that_a_camera_sees_stays_as_it_is():
    before = cylinder(BULGE)
    assert torch.equal(with_least_area(GridField(before), views_from([2.0, -3.0]), NOWHERE).sdf, before)


def test_where_a_contour_touches_the_surface_stays():
    """At the lowest point of the bulge, which then stands out like a tent's pole."""
    before = cylinder(BULGE)
    touched = torch.tensor([[0.0, 0.0, BOTTOM - BULGE]])
    after = with_least_area(GridField(before), views_from([2.0, 0.0]), touched).sdf
    middle = N // 2
    line = np.s_[middle, middle, : middle - 8]
    torch.testing.assert_close(after[line][before[line].abs() < VOXEL], before[line][before[line].abs() < VOXEL])
    assert (after > before + 0.2 * VOXEL).any()


def test_a_bulge_is_not_pulled_in_by_more_than_the_bound():
    before = cylinder(8 * VOXEL)
    after = with_least_area(GridField(before), views_from([3.0]), NOWHERE).sdf
    moved = (lowest(after) - lowest(before)).max()
    assert VOXEL < moved <= (DEEPEST + 1) * VOXEL


@pytest.mark.parametrize("value", [1.0, -1.0])
def test_a_field_without_a_surface_stays_as_it_is(value):
    field = GridField(torch.full((N, N, N), value))
    assert torch.equal(with_least_area(field, views_from([2.0]), NOWHERE).sdf, field.sdf)


def test_loose_are_the_vertices_about_what_nobody_sees_or_touches():
    before = cylinder(BULGE)
    stack = views_from([2.0, 0.0])
    loose = loose_vertices(before, stack.centres, NOWHERE).long()
    assert (before.reshape(-1)[loose].abs() < DEEPEST * VOXEL).all()
    assert (loose % N < N // 2).all(), "below"
    assert len(loose) > 0.5 * torch.pi * (RADIUS / VOXEL) ** 2 * 2 * DEEPEST
    touched = torch.tensor([[0.0, 0.0, BOTTOM - BULGE]])
    held = set(loose.tolist()) - set(loose_vertices(before, stack.centres, touched).tolist())
    assert 0 < len(held) <= 27


def test_loose_vertices_lose_their_ripples_in_a_level_and_others_keep_theirs():
    """Of waves six voxels long hardly anything is left after two hundred passes."""
    flat, axis = cylinder(0.0), torch.linspace(-1, 1, N)
    rippled = flat + 0.4 * VOXEL * torch.cos(axis * (2 * torch.pi / (6 * VOXEL)))[:, None, None]
    loose = loose_vertices(flat, views_from([2.0, 0.0]).centres, NOWHERE)
    after = rippled.clone()
    for _ in range(200):
        keep_tight(loose, after)
    assert lowest(rippled).max() - lowest(rippled).min() > 0.6 * VOXEL
    assert lowest(after).max() - lowest(after).min() < 0.1 * VOXEL
    assert (lowest(after) - BOTTOM).abs().max() < 0.2 * VOXEL
    others = torch.ones(N**3, dtype=torch.bool)
    others[loose.long()] = False
    assert torch.equal(after.reshape(-1)[others], rippled.reshape(-1)[others])


def test_nothing_that_is_loose_is_nothing_to_do():
    sdf = cylinder(BULGE)
    keep_tight(torch.zeros(0, dtype=torch.int32), sdf)
    assert torch.equal(sdf, cylinder(BULGE))
