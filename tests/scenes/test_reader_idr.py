"""The IDR layout: what is written is what is read, and what cannot be read is refused with a reason."""

import shutil

import numpy as np
import pytest
from PIL import Image

from dvr_cli.errors import SceneError
from dvr_cli.scenes.images import load_views
from dvr_cli.scenes.readers import read_scene
from tests.scenes.tiny_scenes import change_arrays, pixel_centres, ring, sphere_mask, world_from_unit, write_sphere


def test_written_scene_reads_back(folder):
    scene = read_scene(folder, masks=True)
    assert (scene.name, scene.format, len(scene.views)) == ("ball", "idr", 12)
    np.testing.assert_allclose(scene.unit_from_world @ world_from_unit(), np.eye(4), atol=1e-12)
    for view, camera in zip(scene.views, ring(), strict=True):
        pixels = pixel_centres(camera)
        np.testing.assert_allclose(view.camera.rays(pixels)[1], camera.rays(pixels)[1], atol=1e-9)
    for view, camera in zip(load_views(scene, None), ring(), strict=True):
        np.testing.assert_array_equal(view.mask, sphere_mask(camera))


def test_whole_numbers_are_pixel_centres(folder):
    # By hand: the projection in the file takes a point to (10, 20); that is the centre of a pixel, here (10.5, 20.5).
    with np.load(folder / "cameras.npz") as arrays:
        world_mat = arrays["world_mat_2"][:3]
    camera = read_scene(folder).views[2].camera
    point = np.linalg.solve(world_mat[:, :3], 5 * np.array([10.0, 20.0, 1.0]) - world_mat[:, 3])
    np.testing.assert_allclose(camera.project(point[None])[0][0], [10.5, 20.5], atol=1e-9)


def test_jpg_in_images_and_cameras_sphere_and_number_named_masks(folder):
    (folder / "images").mkdir()
    for path in sorted((folder / "image").iterdir()):
        Image.open(path).save(folder / "images" / (path.stem + ".JPG"), quality=95)
    shutil.rmtree(folder / "image")
    for path in sorted((folder / "mask").iterdir()):
        path.rename(path.with_name(f"{int(path.stem):03d}.png"))
    (folder / "cameras.npz").rename(folder / "cameras_sphere.npz")
    scene = read_scene(folder, masks=True)
    assert [view.mask_path.name for view in scene.views[:2]] == ["000.png", "001.png"]
    assert load_views(scene, None)[0].mask is not None


def test_tight_scale_mat_of_cameras_sphere_wins(folder):
    shutil.copy(folder / "cameras.npz", folder / "cameras_sphere.npz")
    change_arrays(folder / "cameras.npz", lambda arrays: arrays.update(scale_mat_0=3 * np.eye(4)))
    np.testing.assert_allclose(read_scene(folder).world_from_unit, world_from_unit())


def test_mask_of_another_size_is_used_at_the_size_of_the_image(folder):
    for path in (folder / "mask").iterdir():
        mask = Image.open(path)
        mask.resize((mask.width * 3, mask.height * 3), Image.Resampling.NEAREST).save(path)
    for view, camera in zip(load_views(read_scene(folder, masks=True), None), ring(), strict=True):
        np.testing.assert_array_equal(view.mask, sphere_mask(camera))


def test_chosen_views_are_those_numbers(folder):
    scene = read_scene(folder, view_range="2, 5-7")
    assert [view.name for view in scene.views] == ["000002.png", "000005.png", "000006.png", "000007.png"]
    np.testing.assert_allclose(scene.views[1].camera.centre, ring()[5].centre)


def test_images_left_out_keep_their_cameras_by_number(folder):
    for number in (0, 3):
        (folder / "image" / f"{number:06d}.png").unlink()
    scene = read_scene(folder, masks=True)
    np.testing.assert_allclose(scene.views[0].camera.centre, ring()[1].centre)
    assert scene.views[0].mask_path.name == "000001.png"


def test_images_left_out_without_numbers_are_refused(folder):
    for path in sorted((folder / "image").iterdir()):
        path.rename(path.with_name("view" + path.name))
    (folder / "image" / "view000003.png").unlink()
    with pytest.raises(SceneError, match="12 cameras for 11 images"):
        read_scene(folder)


def test_fewer_cameras_than_images_names_the_key_and_the_way_out(folder):
    change_arrays(folder / "cameras.npz", lambda arrays: [arrays.pop(f"world_mat_{i}") for i in range(9, 12)])
    with pytest.raises(SceneError) as caught:
        read_scene(folder)
    assert str(caught.value).splitlines() == [
        "ball/cameras.npz has no key 'world_mat_9': found world_mat_0..8 for 12 images.",
        "Pass --views 0-8, or write the missing matrices (docs/formats.md, section IDR).",
    ]
    assert len(read_scene(folder, view_range="0-8").views) == 9


@pytest.mark.parametrize("view_range", ["0-12", "5-3", "a", "", "-1", "1--2", "99999999999"])
def test_views_that_do_not_exist_are_refused(folder, view_range):
    with pytest.raises(SceneError, match="--views"):
        read_scene(folder, view_range=view_range)


def test_no_mask_where_masks_were_asked(folder):
    (folder / "mask" / "000004.png").unlink()
    scene = read_scene(folder, masks=True)
    assert [view.name for view in scene.views if view.mask_path is None] == ["000004.png"]
    assert "1 of 12 views have no mask: 000004.png" in scene.notes
    for path in (folder / "mask").iterdir():
        path.unlink()
    with pytest.raises(SceneError, match="no mask for any of 12 images"):
        read_scene(folder, masks=True)
    shutil.rmtree(folder / "mask")
    with pytest.raises(SceneError, match="Masks were asked for"):
        read_scene(folder, masks=True)
    assert read_scene(folder).views[0].mask_path is None


def test_mask_of_another_aspect_ratio(folder):
    Image.new("L", (64, 64), 255).save(folder / "mask" / "000003.png")
    with pytest.raises(SceneError, match=r"000003\.png is 64x64 pixels.*aspect ratio"):
        read_scene(folder, masks=True)


@pytest.mark.parametrize(
    ("world_mat", "message"),
    [
        (np.full((4, 4), np.nan), "NaN"),
        (np.ones((4, 4)), "singular"),
        (np.zeros((4, 4)), "singular"),
        (np.eye(3), "shape"),
        (np.eye(4, dtype=complex), "shape"),
    ],
)
def test_bad_camera_is_named(folder, world_mat, message):
    change_arrays(folder / "cameras.npz", lambda arrays: arrays.update(world_mat_5=world_mat))
    with pytest.raises(SceneError, match=f"(?s)world_mat_5.*{message}"):
        read_scene(folder)


@pytest.mark.parametrize("with_scale_mat", [True, False])
def test_mirrored_cameras_are_refused(tmp_path, with_scale_mat):
    write_sphere(tmp_path, with_scale_mat)
    mirror = np.diag([1.0, 1.0, -1.0, 1.0])

    def change(arrays):
        for key in arrays:
            if key.startswith("world_mat"):
                arrays[key] = arrays[key] @ mirror
            else:
                arrays[key] = arrays[key].copy()
                arrays[key][2, 3] *= -1

    change_arrays(tmp_path / "cameras.npz", change)
    with pytest.raises(SceneError, match="mirrored"):
        read_scene(tmp_path)


def test_overall_sign_of_matrices_is_harmless(folder):
    def change(arrays):
        arrays["world_mat_5"] = -arrays["world_mat_5"]

    change_arrays(folder / "cameras.npz", change)
    np.testing.assert_allclose(
        read_scene(folder).views[5].camera.camera_from_world, ring()[5].camera_from_world, atol=1e-9
    )


def test_views_that_disagree_about_the_bounds_are_refused(folder):
    change_arrays(folder / "cameras.npz", lambda arrays: arrays.update(scale_mat_4=np.eye(4)))
    with pytest.raises(SceneError, match="scale_mat_4 differs"):
        read_scene(folder)


def test_pickled_cameras_are_refused(folder):
    np.savez(folder / "cameras.npz", world_mat_0=np.array([{"a": 1}], dtype=object))
    with pytest.raises(SceneError, match="pickled"):
        read_scene(folder)


def test_folder_without_scene_says_what_was_expected(tmp_path):
    (tmp_path / "holiday.mov").touch()
    with pytest.raises(SceneError, match=r"(?s)holiday\.mov.*cameras\.npz.*sparse/0"):
        read_scene(tmp_path)
    with pytest.raises(SceneError, match="not a folder"):
        read_scene(tmp_path / "nowhere")


def test_scene_without_photographs_is_refused(folder):
    shutil.rmtree(folder / "image")
    with pytest.raises(SceneError, match="no photographs"):
        read_scene(folder)


def test_hidden_files_are_no_photographs(folder):
    first = next((folder / "image").iterdir())
    (folder / "image" / f"._{first.name}").write_bytes(b"what macOS keeps beside a file")
    assert len(read_scene(folder).views) == 12
