"""Which way is up: rigs whose up is known, in any world, level or nearly so."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dvr_cli.scenes.rig import SNAP_DEGREES, front_direction, up_direction
from dvr_cli.scenes.views import Camera

GENERATOR = np.random.default_rng(11)
TILTED = Rotation.from_rotvec([0.5, 0.4, 0.2]).as_matrix()
"""Takes the world's axes far from where they were, so that no result is snapped to one."""


def camera(azimuth, elevation, roll=0.0, world=TILTED):
    """Looks at the origin of a world whose up is the third column of `world`; angles in degrees."""
    azimuth, elevation, roll = np.radians([azimuth, elevation, roll])
    outwards = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0])
    level = np.stack([right, np.cross(-outwards, right), -outwards])
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("z", roll).as_matrix() @ level @ world.T
    matrix[:3, 3] = (0, 0, 3)
    return Camera(np.diag([100.0, 100.0, 1.0]), matrix, 48, 64)


def degrees_between(found, expected):
    return np.degrees(np.arccos(np.clip(found @ expected, -1, 1)))


@pytest.mark.parametrize("elevations", [(0,), (30,), (-20,), (-60, 0, 45, 80)])
@pytest.mark.parametrize("arc", [40, 120, 360])
def test_level_cameras_say_exactly_what_is_up(elevations, arc):
    azimuths = np.linspace(0, arc, 9, endpoint=False)
    rig = [camera(azimuth, elevations[index % len(elevations)]) for index, azimuth in enumerate(azimuths)]
    assert degrees_between(up_direction(rig), TILTED[:, 2]) < 1e-5


def test_up_turns_with_the_world():
    angles = [(azimuth, 25, roll) for azimuth, roll in zip(range(0, 200, 20), GENERATOR.normal(0, 2, 10), strict=True)]
    first = up_direction([camera(*angle) for angle in angles])
    turn = Rotation.from_rotvec([-0.3, 0.2, 0.6]).as_matrix()
    turned = up_direction([camera(*angle, world=turn @ TILTED) for angle in angles])
    np.testing.assert_allclose(turned, turn @ first, atol=1e-9)


def test_unsteady_hands_cost_little_and_a_few_on_edge_nothing():
    rolls = GENERATOR.normal(0, 3, 40)
    rolls[[3, 17, 30, 31]] += 90
    rig = [camera(9 * index, 20 + 20 * (index % 3), roll) for index, roll in enumerate(rolls)]
    assert degrees_between(up_direction(rig), TILTED[:, 2]) < 2


def test_side_by_side_cameras_say_it_by_their_own_up():
    rig = [camera(azimuth, 0) for azimuth in (-2, 0, 2)]
    assert degrees_between(up_direction(rig), TILTED[:, 2]) < 1e-5
    single = camera(70, 10)
    assert degrees_between(up_direction([single]), -single.camera_from_world[1, :3]) < 1e-5


def test_straight_down_is_down():
    """A drone's pictures: only the direction of view says which end of the axis is up."""
    rig = [camera(azimuth, 90) for azimuth in range(0, 360, 30)]
    assert degrees_between(up_direction(rig), TILTED[:, 2]) < 1e-5


def test_nothing_is_said_without_cameras_or_by_cameras_held_anyhow():
    assert up_direction([]) is None
    rolls = GENERATOR.uniform(0, 360, 60)
    assert up_direction([camera(6 * index, 30, roll) for index, roll in enumerate(rolls)]) is None


def test_an_axis_nearby_is_meant():
    for degrees, snapped in ((SNAP_DEGREES - 0.5, True), (SNAP_DEGREES + 0.5, False)):
        lean = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
        found = up_direction([camera(azimuth, 20, world=lean) for azimuth in range(0, 360, 40)])
        assert (found.tolist() == [0, 0, 1]) is snapped
        assert degrees_between(found, lean[:, 2]) == pytest.approx(degrees if snapped else 0, abs=1e-5)


def test_front_is_where_most_cameras_stand():
    up, centre = TILTED[:, 2], np.zeros(3)
    arc = [camera(azimuth, 30) for azimuth in range(20, 101, 10)]
    expected = TILTED @ (np.cos(np.radians(60)), np.sin(np.radians(60)), 0)
    assert degrees_between(front_direction(arc, centre, up), expected) < 1e-5
    ring = [camera(azimuth, 30) for azimuth in range(70, 430, 30)]
    first = TILTED @ (np.cos(np.radians(70)), np.sin(np.radians(70)), 0)
    assert degrees_between(front_direction(ring, centre, up), first) < 1e-5
    assert front_direction([], centre, up) is None
    assert front_direction([camera(0, 90)], centre, up) is None
