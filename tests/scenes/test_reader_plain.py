"""The plain format: the examples of its page, every way to give a pose, and what is refused."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from dvr_cli.errors import SceneError
from dvr_cli.scenes.readers import read_scene
from tests.scenes.tiny_scenes import ring, world_from_unit

PAGE = Path(__file__).parents[2] / "docs" / "formats" / "plain.md"
LENS = {"width": 64, "height": 48, "fx": 60.0}
BALL = {"object_centre": [0.0, 0.0, 0.0], "object_radius": 1.0}


def example(kind):
    return re.search(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]


def write(root, views, size=(64, 48), **top):
    (root / "images").mkdir(exist_ok=True)
    for view in views:
        Image.new("RGB", size).save(root / "images" / Path(view["name"]).name)
    (root / "cameras.json").write_text(json.dumps({**BALL, **top, "views": views}))
    return root


def photographs(root, **sizes):
    (root / "images").mkdir()
    for name in ("front", "left", "top", "phone"):
        Image.new("RGB", sizes.get(name, (640, 480))).save(root / "images" / f"{name}.jpg")


def test_the_json_example_means_what_the_page_says(tmp_path):
    (tmp_path / "cameras.json").write_text(example("json"))
    photographs(tmp_path, phone=(1920, 1080))
    (tmp_path / "masks").mkdir()
    Image.new("L", (1920, 1080)).save(tmp_path / "masks" / "phone.png")
    scene = read_scene(tmp_path, masks=True)
    assert scene.format == "plain"
    cameras = {view.name: view.camera for view in scene.views}
    np.testing.assert_allclose(scene.world_from_unit, [[0.6, 0, 0, 0], [0, 0.6, 0, 0], [0, 0, 0.6, 0.5], [0, 0, 0, 1]])
    point = np.array([[0.0, 0.0, 0.5], [0.1, 0.0, 0.6]])
    # Front: the world's x is to the right, z is up; 0.1 at a distance of 3 is 700 / 30 pixels.
    np.testing.assert_allclose(cameras["front.jpg"].project(point)[0], [[320, 240], [320 + 70 / 3, 240 - 70 / 3]])
    # Left: seen along +x, the world's y points to the left.
    np.testing.assert_allclose(cameras["left.jpg"].project(np.array([[0, 0.3, 0.5]]))[0], [[320 - 71, 240]])
    # Top: x to the right, y up.
    np.testing.assert_allclose(cameras["top.jpg"].project(np.array([[0.35, 0.35, 0.5]]))[0], [[390, 170]])
    phone = next(view for view in scene.views if view.name == "phone.jpg")
    np.testing.assert_allclose(phone.camera.centre, [0, -3, 0.5])
    assert phone.distorted.model_name == "SIMPLE_RADIAL" and phone.mask_path == tmp_path / "masks" / "phone.png"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_csv_example_is_the_json_example(tmp_path, delimiter):
    for kind in ("json", "csv"):
        (tmp_path / kind).mkdir()
        photographs(tmp_path / kind, phone=(1920, 1080))
    (tmp_path / "csv" / "cameras.csv").write_text("\ufeff" + example("csv").replace(",", delimiter) + "# end\n")
    values = json.loads(example("json"))
    del values["views"][3], values["views"][1]["fy"]
    (tmp_path / "json" / "cameras.json").write_text(json.dumps(values))
    found = [read_scene(tmp_path / kind).views for kind in ("csv", "json")]
    for view, other in zip(*found, strict=True):
        assert view.name == other.name
        np.testing.assert_allclose(view.camera.camera_from_world, other.camera.camera_from_world)
        np.testing.assert_allclose(view.camera.intrinsics, other.camera.intrinsics)


def poses(camera):
    """The same pose in every way of the format."""
    world_from_camera = camera.world_from_camera
    x, y, z, w = Rotation.from_matrix(world_from_camera[:3, :3]).as_quat()
    position, forward, down = camera.centre, world_from_camera[:3, 2], world_from_camera[:3, 1]
    return {
        "camera_from_world": {"camera_from_world": camera.camera_from_world.tolist()},
        "three rows": {"camera_from_world": camera.camera_from_world[:3].tolist()},
        "world_from_camera": {"world_from_camera": world_from_camera.tolist()},
        "quaternion": {"position": position.tolist(), "quaternion": (-3 * np.array([w, x, y, z])).tolist()},
        "look_at": {
            "position": position.tolist(),
            "look_at": (position + 5 * forward).tolist(),
            "up": (-down).tolist(),
        },
    }


@pytest.mark.parametrize("way", list(poses(ring()[0])))
def test_all_ways_to_give_a_pose_agree(tmp_path, way):
    cameras = ring()[:4]
    views = [{"name": f"{i}.png", **poses(camera)[way]} for i, camera in enumerate(cameras)]
    scene = read_scene(write(tmp_path, views, **LENS, world_from_unit=world_from_unit().tolist()))
    for view, camera in zip(scene.views, cameras, strict=True):
        np.testing.assert_allclose(view.camera.camera_from_world, camera.camera_from_world, atol=1e-9)


def test_missing_photographs_are_left_out_and_named(tmp_path):
    views = [{"name": f"{name}.png", "position": [0, -3, 0], "look_at": [0, 0, 0]} for name in "cab"]
    write(tmp_path, views, **LENS)
    (tmp_path / "images" / "a.png").unlink()
    scene = read_scene(tmp_path)
    assert [view.name for view in scene.views] == ["b.png", "c.png"] and "a.png (view 1)" in scene.notes[0]
    (tmp_path / "images" / "b.png").unlink()
    with pytest.raises(SceneError, match="of which 1 exist"):
        read_scene(tmp_path)


def test_a_camera_file_of_another_program_is_left_alone(tmp_path):
    (tmp_path / "cameras.json").write_text('[{"id": 0, "img_name": "a", "position": [0, 0, 0]}]')
    (tmp_path / "cameras.csv").write_text("#name,x,y,alt,heading,pitch,roll\na.jpg,1,2,3,4,5,6\n")
    with pytest.raises(SceneError, match="in no format"):
        read_scene(tmp_path)


LOOKING = {"position": [0, -3, 0], "look_at": [0, 0, 0]}


@pytest.mark.parametrize(
    ("view", "top", "message"),
    [
        ({**LOOKING, "focal": 3}, LENS, "unknown key 'focal'"),
        ({**LOOKING, "postion": [0, 0, 0]}, LENS, "did you mean 'position'"),
        (LOOKING, {**LENS, "objekt_radius": 1.0}, "did you mean 'object_radius'"),
        ({"position": [0, -3, 0]}, LENS, "by nothing"),
        ({**LOOKING, "quaternion": [1, 0, 0, 0]}, LENS, "by quaternion and look_at"),
        ({"look_at": [0, 0, 0]}, LENS, "position is None"),
        ({"position": [0, 0, -3], "look_at": [0, 0, 0]}, LENS, "its own up direction"),
        ({"position": [0, 0, 0], "look_at": [0, 0, 0]}, LENS, "at its own position"),
        ({"position": [0, 0, -3], "quaternion": [0, 0, 0, 0]}, LENS, "no rotation"),
        ({"camera_from_world": np.diag([1, 1, -1, 1]).tolist()}, LENS, "no rigid motion"),
        ({"world_from_camera": np.diag([2, 2, 2, 1]).tolist()}, LENS, "no rigid motion"),
        (LOOKING, {"width": 64, "height": 48}, "fx None"),
        (LOOKING, {**LENS, "fx": -60}, "focal length|parameters"),
        (LOOKING, {**LENS, "width": 63.5}, "whole size"),
        (LOOKING, {**LENS, "model": "FANCY"}, "no camera model 'FANCY'"),
        (LOOKING, {**LENS, "model": "OPENCV", "distortion": [0.1]}, "expected 4 finite numbers"),
        (LOOKING, {**LENS, "distortion": [0.1]}, "expected 0 finite numbers"),
        (LOOKING, {**LENS, "model": "SIMPLE_RADIAL", "distortion": [0.1], "fy": 61}, "one focal length"),
        (LOOKING, {**LENS, "object_radius": 0.0}, "object_radius is 0"),
        (LOOKING, {**LENS, "points": "../points.ply"}, "lies outside"),
        (LOOKING, {**LENS, "points": "points.ply"}, "does not exist"),
        ({**LOOKING, "mask": "gone.png"}, LENS, r"gone\.png.*does not exist"),
        ({**LOOKING, "name": "../a.png"}, LENS, "lies outside"),
        ({**LOOKING, "name": 5}, LENS, "expected a text"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, view, top, message):
    write(tmp_path, [{"name": "a.png"}])
    (tmp_path / "cameras.json").write_text(json.dumps({**BALL, **top, "views": [{"name": "a.png", **view}]}))
    with pytest.raises(SceneError, match=message):
        read_scene(tmp_path)


HEADER = "name,fx,position_x,position_y,position_z,look_at_x,look_at_y,look_at_z\n"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (HEADER, "list of 0"),
        (HEADER + "a.png,60,0,-3,0,0,0\n", "7 cells"),
        (HEADER + "a.png,60,0,-3,0,0,0,x\n", "finite number, found 'x'"),
        (HEADER + "a.png,60,0,-3,0,0,0,nan\n", "finite number, found 'nan'"),
        (HEADER + "a.png,60,0,-3,,0,0,0\n", "expected 3 finite numbers"),
        (HEADER + "a.png,60,0,-3,0,0,0,0\na.png,60,0,-3,0,0,0,0\n", "view 1 has the name of view 0"),
        ("name,fx,fx\na.png,1,2\n", "twice"),
        ("name,fx,lookat_x\na.png,1,2\n", "did you mean 'look_at_x'"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(tmp_path, table, message):
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    (tmp_path / "cameras.csv").write_text(table)
    with pytest.raises(SceneError, match=message):
        read_scene(tmp_path)
