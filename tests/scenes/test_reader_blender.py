"""NeRF-synthetic scenes: splits, angles of view, and masks in the alpha channel."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from dvr_cli.errors import SceneError
from dvr_cli.scenes.images import load_view
from dvr_cli.scenes.readers import read_scene
from tests.scenes.tiny_scenes import photograph, ring, sphere_mask, world_from_unit

ANGLE = 0.9
OPENGL = np.diag([1.0, -1, -1, 1])


def camera_of(base):
    """A camera as Blender has it: through the middle of a square image."""
    intrinsics = np.array([[32 / math.tan(ANGLE / 2), 0, 32], [0, 32 / math.tan(ANGLE / 2), 32], [0, 0, 1]])
    return type(base)(intrinsics, base.camera_from_world, 64, 64)


def write_split(root, split, cameras, alpha=True):
    frames = []
    for index, camera in enumerate(cameras):
        pixels = np.round(255 * photograph(camera)).astype(np.uint8)
        layers = [pixels, np.uint8(255) * sphere_mask(camera)[:, :, None]] if alpha else [pixels]
        path = root / split / f"r_{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.concatenate(layers, axis=2)).save(path)
        matrix = (camera.world_from_camera @ OPENGL).tolist()
        frames.append({"file_path": f"./{split}/r_{index}", "rotation": 0.0125, "transform_matrix": matrix})
    (root / f"transforms_{split}.json").write_text(json.dumps({"camera_angle_x": ANGLE, "frames": frames}))


def test_train_is_read_with_alpha_as_mask_and_the_other_splits_are_named(tmp_path):
    cameras = [camera_of(base) for base in ring()]
    write_split(tmp_path, "train", cameras[:8])
    write_split(tmp_path, "test", cameras[8:])
    scene = read_scene(tmp_path, masks="any")
    assert scene.format == "blender" and len(scene.views) == 8
    assert "transforms_test.json can be read with --cameras" in scene.notes[0]
    for view, camera in zip(scene.views, cameras, strict=False):
        np.testing.assert_allclose(view.camera.intrinsics, camera.intrinsics, rtol=1e-12)
        np.testing.assert_allclose(view.camera.camera_from_world, camera.camera_from_world, atol=1e-9)
        np.testing.assert_array_equal(load_view(view, None).mask, sphere_mask(camera))
    # The hull of the alpha channels is where the sphere is.
    centre = np.linalg.inv(scene.unit_from_world)[:3, 3]
    assert np.linalg.norm(centre - world_from_unit()[:3, 3]) < 0.1 * np.cbrt(np.linalg.det(world_from_unit()[:3, :3]))


def test_a_named_split_is_read_instead(tmp_path):
    cameras = [camera_of(base) for base in ring()]
    write_split(tmp_path, "train", cameras[:8])
    write_split(tmp_path, "test", cameras[8:])
    for named in ({"cameras": tmp_path / "transforms_test.json"}, {}):
        root = tmp_path if named else tmp_path / "transforms_test.json"
        scene = read_scene(root, masks=True, **named)
        assert scene.format == "blender" and len(scene.views) == 4
        np.testing.assert_allclose(scene.views[0].camera.centre, cameras[8].centre, atol=1e-9)


def test_photographs_without_alpha_have_no_masks(tmp_path):
    write_split(tmp_path, "train", [camera_of(base) for base in ring()], alpha=False)
    assert all(view.mask_path is None for view in read_scene(tmp_path, masks="any").views)
    with pytest.raises(SceneError, match="asks"):
        read_scene(tmp_path, masks=True)


def test_a_transforms_json_with_everything_goes_before_the_splits(tmp_path):
    cameras = [camera_of(base) for base in ring()]
    write_split(tmp_path, "train", cameras[:8])
    (tmp_path / "transforms.json").write_text((tmp_path / "transforms_train.json").read_text())
    assert read_scene(tmp_path).format == "transforms"
    assert read_scene(tmp_path, cameras=tmp_path / "transforms_train.json").format == "blender"
