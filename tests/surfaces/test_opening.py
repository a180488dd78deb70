"""Meshes of scenes without masks: what photographs show stays, borders and backs go."""

import numpy as np
import pytest

from dvr_cli.scenes.views import Camera
from dvr_cli.surfaces.extraction import extract
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.opening import opened
from dvr_cli.surfaces.topology import is_watertight

NOWHERE = np.eye(4)


def ball(radius: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    def value(points):
        return np.linalg.norm(points - np.array(centre), axis=1) - radius

    def gradient(points):
        return (points - np.array(centre)) / np.linalg.norm(points - np.array(centre), axis=1)[:, None]

    return extract(value, gradient, resolution=48)


def both(one: Mesh, other: Mesh) -> Mesh:
    return Mesh(
        np.concatenate([one.vertices, other.vertices]),
        np.concatenate([one.faces, other.faces + len(one.vertices)]),
        np.concatenate([one.normals, other.normals]),
    )


def cameras_above(count: int = 3) -> list[Camera]:
    """Side by side at z = 4, looking down."""
    intrinsics = np.array([[100.0, 0, 60], [0, 100, 60], [0, 0, 1]])
    found = []
    for x in np.linspace(-0.3, 0.3, count):
        camera_from_world = np.diag([1.0, -1.0, -1.0, 1.0])
        camera_from_world[:3, 3] = [-x, 0, 4]
        found.append(Camera(intrinsics, camera_from_world, 120, 120))
    return found


def test_backs_of_things_go():
    found = opened(ball(0.6), cameras_above(), NOWHERE, NOWHERE)
    assert not is_watertight(found.mesh)
    height = found.mesh.vertices[:, 2]
    # From z = 4 a ball of radius 0.6 shows what lies above 0.6^2 / 4 = 0.09; rays that graze do not count.
    assert 0.05 < height.min() < 0.25 and height.max() > 0.59
    assert found.removed_share == pytest.approx((0.6 + height.min()) / 1.2, abs=0.05)


def test_one_photograph_shows_nothing():
    """What only one has seen cannot have been compared; rather the whole mesh than none."""
    mesh = ball(0.6)
    assert opened(mesh, cameras_above(1), NOWHERE, NOWHERE).mesh is mesh


@pytest.mark.parametrize("which", ["region of interest", "cube"])
def test_border_goes(which):
    """Of a ball that pokes through the border at 0.6, what lies well inside stays."""
    shrunk = np.diag([1 / 0.6, 1 / 0.6, 1 / 0.6, 1.0])
    unit, cube = (shrunk, NOWHERE) if which == "region of interest" else (NOWHERE, shrunk)
    vertices = opened(ball(0.3, (0.5, 0, 0)), cameras_above(), unit, cube).mesh.vertices
    assert 0.4 < vertices[:, 0].max() < 0.95 * 0.6
    assert vertices[:, 0].min() < 0.25


def test_what_hides_behind_other_things_goes():
    above, below = ball(0.4, (0, 0, 0.5)), ball(0.15, (0, 0, -0.4))
    found = opened(both(above, below), cameras_above(), NOWHERE, NOWHERE)
    assert found.mesh.vertices[:, 2].min() > 0


def test_small_parts_go_and_one_may_be_all():
    large, middle, small = ball(0.3, (-0.3, 0, 0)), ball(0.2, (0.5, 0, 0)), ball(0.14, (0.1, 0.5, 0))
    mesh = both(both(large, middle), small)
    found = opened(mesh, cameras_above(), NOWHERE, NOWHERE, least_part=0.3)
    assert found.parts == 1 and found.mesh.vertices[:, 0].max() > 0.6
    alone = opened(mesh, cameras_above(), NOWHERE, NOWHERE, least_part=1.0)
    assert alone.parts == 2 and alone.mesh.vertices[:, 0].max() < 0.1


def test_what_no_photographs_agree_about_goes():
    """Support at one end only; gaps of a few vertices are bridged, the far end is not."""
    mesh = ball(0.6)
    place = mesh.vertices[:, 0]
    everywhere = np.ones(len(place), bool)
    gap = np.abs(place) > 0.05
    assert len(opened(mesh, cameras_above(), NOWHERE, NOWHERE, supported=gap).mesh.faces) == len(
        opened(mesh, cameras_above(), NOWHERE, NOWHERE, supported=everywhere).mesh.faces
    )
    half = opened(mesh, cameras_above(), NOWHERE, NOWHERE, supported=place < 0).mesh.vertices[:, 0]
    assert half.min() < -0.5 and half.max() < 0.1
