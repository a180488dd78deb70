"""COLMAP models with rigs and frames: poses are sensor_from_rig times rig_from_world, and damage is a clean error."""

import struct

import numpy as np
import pycolmap
import pytest
from PIL import Image

from dvr_cli.errors import SceneError
from dvr_cli.scenes.readers import read_scene
from tests.scenes.tiny_scenes import ring, write_colmap

SENSOR_FROM_RIG = pycolmap.Rigid3d(
    pycolmap.Rotation3d(np.array([0.0, 0.0, np.sin(0.3), np.cos(0.3)])), np.array([0.1, -0.2, 0.05])
)


def write_stereo(root, second_pose=SENSOR_FROM_RIG, text=False):
    """Three moments of a rig of two cameras, written by COLMAP's own library; returns camera_from_world by name."""
    cameras = ring()[:3]
    model = pycolmap.Reconstruction()
    lenses = []
    for camera_id in (4, 9):
        intrinsics = cameras[0].intrinsics
        lens = pycolmap.Camera.create_from_model_name(camera_id, "PINHOLE", 1.0, cameras[0].width, cameras[0].height)
        lens.params = [intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]]
        model.add_camera(lens)
        lenses.append(lens)
    rig = pycolmap.Rig(rig_id=2)
    rig.add_ref_sensor(lenses[0].sensor_id)
    rig.add_sensor(lenses[1].sensor_id, second_pose)
    model.add_rig(rig)
    expected = {}
    for moment, camera in enumerate(cameras):
        rig_from_world = pycolmap.Rigid3d(camera.camera_from_world[:3])
        frame = pycolmap.Frame(frame_id=moment + 30, rig_id=2)
        frame.rig_from_world = rig_from_world
        images = []
        for side, lens in zip(("left", "right"), lenses, strict=True):
            name = f"{side}/{moment}.png"
            image = pycolmap.Image(image_id=10 * moment + lens.camera_id, name=name, camera_id=lens.camera_id)
            image.frame_id = frame.frame_id
            frame.add_data_id(image.data_id)
            images.append(image)
            (root / "images" / side).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (camera.width, camera.height)).save(root / "images" / name)
        model.add_frame(frame)
        for image in images:
            model.add_image(image)
        expected[f"left/{moment}.png"] = rig_from_world.matrix()
        if second_pose is not None:
            expected[f"right/{moment}.png"] = (second_pose * rig_from_world).matrix()
    folder = root / "sparse" / "0"
    folder.mkdir(parents=True)
    (model.write_text if text else model.write_binary)(str(folder))
    return expected


@pytest.mark.parametrize("text", [False, True])
def test_pose_is_that_of_the_sensor_times_that_of_the_frame(tmp_path, text):
    expected = write_stereo(tmp_path, text=text)
    views = read_scene(tmp_path).views
    assert [view.name for view in views] == sorted(expected)
    for view in views:
        np.testing.assert_allclose(view.camera.camera_from_world[:3], expected[view.name], atol=1e-12)


@pytest.mark.parametrize("text", [False, True])
def test_frames_have_the_last_word_over_the_poses_of_the_images(tmp_path, text):
    # Programs that refine rigs may leave old poses with the images, and COLMAP itself does not read those.
    expected = write_stereo(tmp_path, text=text)
    folder = tmp_path / "sparse" / "0"
    if text:
        lines = (folder / "images.txt").read_text().splitlines()
        changed = [line if line[:1] in "#" or not line.strip() else _with_other_pose(line) for line in lines]
        (folder / "images.txt").write_text("\n".join(changed) + "\n")
    else:
        data = bytearray((folder / "images.bin").read_bytes())
        struct.pack_into("<7d", data, 12, 1, 0, 0, 0, 5, 6, 7)
        (folder / "images.bin").write_bytes(data)
    for view in read_scene(tmp_path).views:
        np.testing.assert_allclose(view.camera.camera_from_world[:3], expected[view.name], atol=1e-12)


def _with_other_pose(line):
    words = line.split()
    return " ".join([words[0], *["1", "0", "0", "0", "5", "6", "7"], *words[8:]])


@pytest.mark.parametrize("text", [False, True])
def test_model_without_rigs_reads_the_poses_of_its_images(tmp_path, text):
    cameras = ring()[:3]
    folder = write_colmap(tmp_path, cameras, text=text)
    for kind in ("rigs", "frames"):
        (folder / f"{kind}.{'txt' if text else 'bin'}").unlink()
    for view, camera in zip(read_scene(tmp_path).views, cameras, strict=True):
        np.testing.assert_allclose(view.camera.camera_from_world, camera.camera_from_world, atol=1e-12)


def test_frame_without_pose_of_its_sensor_is_left_out_and_noted(tmp_path):
    write_stereo(tmp_path)
    folder = tmp_path / "sparse" / "0"
    rigs = (folder / "rigs.bin").read_bytes()
    # The byte before the seven numbers says whether the second sensor has a pose.
    (folder / "rigs.bin").write_bytes(rigs[:-57] + b"\0")
    scene = read_scene(tmp_path)
    assert [view.name for view in scene.views] == ["left/0.png", "left/1.png", "left/2.png"]
    assert any("3 images of the model have no pose" in note and "right/0.png" in note for note in scene.notes)


@pytest.mark.parametrize("name", ["rigs", "frames"])
@pytest.mark.parametrize("kept", [0, 5, 0.5, -6])
def test_rigs_that_were_cut_off_are_refused(tmp_path, name, kept):
    write_stereo(tmp_path)
    path = tmp_path / "sparse" / "0" / f"{name}.bin"
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(SceneError, match=rf"{name}\.bin.*cut off"):
        read_scene(tmp_path)


@pytest.mark.parametrize("words", ["2 1 CAMERA", "x", "2 99999999 CAMERA 4", "2 2 CAMERA 4 CAMERA 9 1 1 0 0"])
def test_line_of_rigs_that_is_none_is_refused_with_its_place(tmp_path, words):
    write_stereo(tmp_path, text=True)
    (tmp_path / "sparse" / "0" / "rigs.txt").write_text(f"# comment\n{words}\n")
    with pytest.raises(SceneError, match=r"rigs\.txt, line 2"):
        read_scene(tmp_path)


def test_frame_of_a_rig_that_is_not_there_is_refused(tmp_path):
    write_stereo(tmp_path, text=True)
    (tmp_path / "sparse" / "0" / "rigs.txt").write_text("")
    with pytest.raises(SceneError, match="not among the rigs"):
        read_scene(tmp_path)


def test_names_with_spaces_survive_the_text_format(tmp_path):
    write_colmap(tmp_path, ring()[:2], names=["a b.png", "ä c.png"], text=True)
    assert [view.name for view in read_scene(tmp_path).views] == ["a b.png", "ä c.png"]
