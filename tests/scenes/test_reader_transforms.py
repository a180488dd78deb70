"""transforms.json: axes, lenses and files as nerfstudio and instant-ngp mean them, worked by hand."""

import json
import math

import numpy as np
import pycolmap
import pytest
from PIL import Image

from dvr_cli.diagnosis.diagnose import quick_diagnosis
from dvr_cli.errors import SceneError
from dvr_cli.scenes.images import load_view, load_views
from dvr_cli.scenes.readers import read_scene
from tests.scenes.tiny_scenes import pixel_centres, ring, sphere_mask, world_from_unit, write_colmap, write_sphere

IDENTITY = np.eye(4).tolist()


def write(root, frames, names=None, size=(64, 48), **top):
    """A transforms.json and a black photograph for every frame (or for these names)."""
    for name in [frame["file_path"] for frame in frames] if names is None else names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(root / name)
    # One camera alone does not say where the object is.
    (root / "transforms.json").write_text(json.dumps({"world_from_unit": IDENTITY, **top, "frames": frames}))
    return root


def frame(name="images/a.png", matrix=IDENTITY, **values):
    return {"file_path": name, "transform_matrix": matrix, **values}


def camera_of(root, **options):
    return read_scene(root, **options).views[0].camera


def test_the_camera_looks_along_minus_z_with_y_up(tmp_path):
    matrix = np.eye(4)
    matrix[:3, 3] = 1, 2, 3
    camera = camera_of(write(tmp_path, [frame(matrix=matrix.tolist())], fl_x=60.0))
    np.testing.assert_allclose(camera.centre, [1, 2, 3])
    _, directions = camera.rays(np.array([[32.0, 24.0], [33.0, 24.0], [32.0, 25.0]]))
    np.testing.assert_allclose(directions[0], [0, 0, -1], atol=1e-12)
    # One pixel to the right is +x in the world, one pixel down is -y.
    assert directions[1, 0] > 0 and directions[2, 1] < 0


@pytest.mark.parametrize(
    ("top", "per_frame", "expected"),
    [
        ({"fl_x": 50.0, "fl_y": 60.0, "cx": 30.0, "cy": 20.0}, {}, (50, 60, 30, 20)),
        ({"fl_x": 50.0}, {}, (50, 50, 32, 24)),
        ({"fl_y": 50.0}, {}, (50, 50, 32, 24)),
        ({"camera_angle_x": math.pi / 2}, {}, (32, 32, 32, 24)),
        ({"camera_angle_x": math.pi / 2, "camera_angle_y": math.pi / 2}, {}, (32, 24, 32, 24)),
        ({"camera_angle_x": 0.1, "fl_x": 50.0}, {}, (50, 50, 32, 24)),
        ({"fl_x": 50.0, "cx": 1.0}, {"fl_x": 40.0, "cx": 30.0}, (40, 40, 30, 24)),
        ({"fl_x": 50.0, "fl_y": 50.0}, {"camera_angle_x": math.pi / 2}, (32, 32, 32, 24)),
        # Calibrated at twice the size of the photographs.
        ({"fl_x": 100.0, "cx": 60.0, "cy": 40.0, "w": 128, "h": 96.0}, {}, (50, 50, 30, 20)),
    ],
)
def test_intrinsics_from_every_key(tmp_path, top, per_frame, expected):
    intrinsics = camera_of(write(tmp_path, [frame(**per_frame)], **top)).intrinsics
    found = (intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("keys", "model", "parameters"),
    [
        ({"k1": 0.1}, "OPENCV", [0.1, 0, 0, 0]),
        ({"k1": 0.1, "k2": -0.02, "p1": 0.01, "p2": 0.02}, "OPENCV", [0.1, -0.02, 0.01, 0.02]),
        ({"k1": 0.1, "k3": 0.3, "camera_model": "OPENCV"}, "FULL_OPENCV", [0.1, 0, 0, 0, 0.3, 0, 0, 0]),
        ({"k1": 0.1, "k4": 0.01, "camera_model": "OPENCV_FISHEYE"}, "OPENCV_FISHEYE", [0.1, 0, 0, 0.01]),
        ({"k1": 0.1, "is_fisheye": True}, "OPENCV_FISHEYE", [0.1, 0, 0, 0]),
        ({"k1": 0.0, "camera_model": "SIMPLE_PINHOLE"}, None, None),
        ({"camera_model": "PINHOLE", "k1": 0, "k2": 0, "p1": 0.0}, None, None),
    ],
)
def test_distortion_is_that_of_the_named_model(tmp_path, keys, model, parameters):
    view = read_scene(write(tmp_path, [frame()], fl_x=60.0, **keys)).views[0]
    if model is None:
        assert view.distorted is None
    else:
        assert view.distorted.model_name == model
        np.testing.assert_allclose(view.distorted.params[4:], parameters)
        assert load_view(view, None).image.shape == (view.camera.height, view.camera.width, 3)


def test_third_radial_term_bends_rays_as_the_polynomial_says(tmp_path):
    view = read_scene(write(tmp_path, [frame()], fl_x=60.0, k1=0.1, k2=0.05, k3=0.2)).views[0]
    x, r2 = 0.4, 0.16
    expected = 60 * x * (1 + 0.1 * r2 + 0.05 * r2**2 + 0.2 * r2**3) + 32
    np.testing.assert_allclose(view.distorted.img_from_cam(np.array([[x, 0, 1.0]]))[0, 0], expected, rtol=1e-12)


def test_distorted_lens_is_colmaps(tmp_path):
    cameras = ring()
    frames = [
        frame(f"{i}.png", (c.world_from_camera @ np.diag([1.0, -1, -1, 1])).tolist()) for i, c in enumerate(cameras)
    ]
    size = cameras[0].width, cameras[0].height
    scene = read_scene(write(tmp_path, frames, size=size, fl_x=70.0, fl_y=71.0, cx=30.0, cy=33.0, k1=-0.3, p1=0.01))
    lens = pycolmap.Camera.create_from_model_name(1, "OPENCV", 1.0, *size)
    lens.params = [70.0, 71.0, 30.0, 33.0, -0.3, 0.0, 0.01, 0.0]
    pinhole = pycolmap.undistort_camera(pycolmap.UndistortCameraOptions(), lens)
    for view, camera in zip(scene.views, [cameras[int(view.name[:-4])] for view in scene.views], strict=True):
        np.testing.assert_allclose(view.camera.intrinsics, pinhole.calibration_matrix(), rtol=1e-12)
        np.testing.assert_allclose(view.camera.camera_from_world, camera.camera_from_world, atol=1e-9)


@pytest.mark.parametrize("listed", ["./images/a", "images/a", "images/a.png", "images\\a.png"])
def test_file_path_with_and_without_suffix(tmp_path, listed):
    scene = read_scene(write(tmp_path, [frame(listed)], names=["images/a.png"], fl_x=60.0))
    assert scene.views[0].name == "a.png"


def test_names_leave_out_the_folders_that_all_share(tmp_path):
    names = ["data/left/a b.png", "data/right/ä.png"]
    scene = read_scene(write(tmp_path, [frame(name) for name in names], fl_x=60.0))
    assert [view.name for view in scene.views] == ["left/a b.png", "right/ä.png"]


def test_missing_photographs_are_named_with_their_frames_and_left_out(tmp_path):
    frames = [frame(f"{name}.png") for name in "dcba"]
    scene = read_scene(write(tmp_path, frames, names=["a.png", "b.png"], fl_x=60.0), view_range="0-1")
    assert [view.name for view in scene.views] == ["a.png", "b.png"]
    assert "2 of 4 photographs" in scene.notes[0] and "d.png (frame 0), c.png (frame 1)" in scene.notes[0]
    (tmp_path / "a.png").unlink()
    with pytest.raises(SceneError, match=r"lists 4 photographs, of which 1 exist.*d\.png"):
        read_scene(tmp_path)


def test_masks_and_points_that_the_file_names(tmp_path):
    mask = sphere_mask(ring()[0])
    (tmp_path / "m").mkdir()
    Image.fromarray(mask).save(tmp_path / "m" / "of_a.png")
    frames = [frame("a.png", mask_path="m/of_a.png"), frame("b.png", mask_path="m/gone.png")]
    top = {"fl_x": 60.0, "ply_file_path": "points.ply"}
    write(tmp_path, frames, size=mask.shape[::-1], **top)
    scene = read_scene(tmp_path, masks=True)
    np.testing.assert_array_equal(load_view(scene.views[0], None).mask, mask)
    assert scene.views[1].mask_path is None
    assert any("m/gone.png" in note for note in scene.notes) and any("points.ply" in note for note in scene.notes)
    header = (
        "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )
    (tmp_path / "points.ply").write_text(header + "1 2 3\n4 5 6\n")
    np.testing.assert_allclose(read_scene(tmp_path, masks=True).sparse_depth.points, [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("key", "top", "scale"),
    [
        ("depth_file_path", {}, 0.001),
        ("depth_file_path", {"applied_scale": 0.5}, 0.0005),
        ("depth_path", {"integer_depth_scale": 0.002}, 0.002),
    ],
)
def test_depth_maps_that_the_file_names_in_world_units(tmp_path, key, top, scale):
    write(tmp_path, [frame("a.png", **{key: "depth/a.png"}), frame("b.png")], fl_x=60.0, **top)
    (tmp_path / "depth").mkdir()
    values = np.full((48, 64), 3000, np.uint16)
    values[0, 0] = 0
    Image.fromarray(values).save(tmp_path / "depth" / "a.png")
    depth, nothing = (view.depth for view in load_views(read_scene(tmp_path), None))
    assert nothing is None and np.isnan(depth[0, 0])
    np.testing.assert_allclose(depth[1:], 3000 * scale, rtol=1e-6)


def test_depth_maps_and_points_that_are_not_there_are_warned_of(tmp_path):
    gone = {"depth_file_path": "depth/gone.png"}
    write(tmp_path, [frame("a.png", **gone), frame("b.png")], fl_x=60.0, ply_file_path="gone.ply")
    diagnosis = quick_diagnosis(read_scene(tmp_path, guess_bounds=True), 1)
    texts = [finding.text for finding in diagnosis.findings if finding.name == "missing-depth"]
    assert texts == [
        "1 depth map that a frame names is missing: depth/gone.png",
        "The points that transforms.json names are missing: gone.ply",
    ]
    assert sum("gone" in line for line in diagnosis.warning_lines()) == 2


def test_applied_transform_is_in_the_matrices_already(tmp_path):
    matrix = np.eye(4)
    matrix[:3, 3] = 1, 2, 3
    swap = [[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0]]
    root = write(tmp_path, [frame(matrix=matrix.tolist())], fl_x=60.0, applied_transform=swap)
    np.testing.assert_allclose(camera_of(root).centre, [1, 2, 3])


def test_a_camera_without_a_place_for_its_size_takes_the_photographs(tmp_path):
    camera = camera_of(write(tmp_path, [frame()], size=(80, 40), camera_angle_x=1.0))
    assert (camera.width, camera.height) == (80, 40)
    assert pixel_centres(camera).max(axis=0).tolist() == [79.5, 39.5]


SCALED = np.diag([2.0, 2.0, 2.0, 1.0]).tolist()
MIRRORED = np.diag([1.0, 1.0, -1.0, 1.0]).tolist()


@pytest.mark.parametrize(
    ("frames", "top", "message"),
    [
        ([frame("../a.png")], {"fl_x": 60.0}, "lies outside"),
        ([frame("/a.png")], {"fl_x": 60.0}, "lies outside"),
        ([frame()], {}, "no focal length"),
        ([frame()], {"fl_x": 0.0}, "parameters|focal length"),
        ([frame()], {"fl_x": -5.0}, "parameters|focal length"),
        ([frame()], {"fl_x": math.nan}, "finite number"),
        ([frame()], {"fl_x": 10**400}, "finite number"),
        ([frame()], {"fl_x": True}, "finite number"),
        ([frame()], {"camera_angle_x": 4.0}, "between 0 and pi"),
        ([frame()], {"fl_x": 60.0, "camera_model": "EQUIRECTANGULAR"}, "no pinhole image"),
        ([frame()], {"fl_x": 60.0, "ftheta_p0": 1.0}, "no pinhole image"),
        ([frame()], {"fl_x": 60.0, "k4": 0.1}, "fourth radial term"),
        ([frame()], {"fl_x": 60.0, "w": 1e9}, "size in pixels"),
        ([frame()], {"fl_x": 60.0, "w": 64, "h": 64}, "its camera"),
        ([frame(matrix=SCALED)], {"fl_x": 60.0}, "no rigid motion"),
        ([frame(matrix=MIRRORED)], {"fl_x": 60.0}, "no rigid motion"),
        ([frame(matrix=[[1, 2], [3, 4]])], {"fl_x": 60.0}, "transform_matrix is"),
        ([frame(matrix=[["1"] * 4] * 4)], {"fl_x": 60.0}, "transform_matrix is"),
        ([frame(), frame()], {"fl_x": 60.0}, "frame 1 has the photograph of frame 0"),
        ([], {"fl_x": 60.0}, "list of objects"),
        ([frame(mask_path="../../m.png")], {"fl_x": 60.0}, "lies outside"),
        ([frame(depth_path="images/a.png")], {"fl_x": 60.0, "applied_scale": -1}, "positive number"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, frames, top, message):
    write(tmp_path, frames, names=["images/a.png"], **top)
    with pytest.raises(SceneError, match=message):
        read_scene(tmp_path, masks=True)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "[" * 100_000, '{"frames": 3}', '{"frames": [1]}', "\x00\xff"]
)
def test_other_json_is_refused(tmp_path, content):
    (tmp_path / "transforms.json").write_text(content, encoding="latin-1")
    with pytest.raises(SceneError, match=r"transforms\.json"):
        read_scene(tmp_path)


def test_a_name_too_long_for_the_disk_is_missing(tmp_path):
    frames = [frame("a.png"), frame("b.png"), frame("x" * 900)]
    scene = read_scene(write(tmp_path, frames, names=["a.png", "b.png"], fl_x=60.0))
    assert len(scene.views) == 2 and "1 of 3" in scene.notes[0]


def test_a_colmap_model_beside_it_goes_first_and_the_other_choice_is_said(tmp_path):
    """The model knows which photograph saw which point; nerfstudio's own lies in colmap/, where it does not count."""
    cameras = write_sphere(tmp_path / "idr")
    points = np.random.default_rng(5).normal(size=(30, 3)) + world_from_unit()[:3, 3]
    write_colmap(tmp_path, cameras, points=points)
    frames = [frame(f"images/{i:06d}.png", c.world_from_camera.tolist()) for i, c in enumerate(cameras)]
    write(tmp_path, frames, names=[], fl_x=60.0)
    scene = read_scene(tmp_path)
    assert scene.format == "colmap" and any("--format transforms would" in note for note in scene.notes)
    assert read_scene(tmp_path, format_name="transforms").format == "transforms"
    (tmp_path / "colmap").mkdir()
    (tmp_path / "sparse").rename(tmp_path / "colmap" / "sparse")
    scene = read_scene(tmp_path)
    assert scene.format == "transforms" and not any("--format" in note for note in scene.notes)
