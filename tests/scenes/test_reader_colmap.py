"""COLMAP models: the same cameras as in other layouts, whatever the camera model and the kind of file."""

import shutil

import numpy as np
import pycolmap
import pytest
from PIL import Image

from dvr_cli.errors import DepthError, SceneError
from dvr_cli.scenes.images import load_view
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.sparse_depth import read_sparse_depth
from tests.scenes.tiny_scenes import (
    pattern,
    pixel_centres,
    ring,
    sphere_mask,
    world_from_unit,
    write_colmap,
    write_sphere,
)

POINTS = np.random.default_rng(5).normal(size=(30, 3)) * 1.5 + world_from_unit()[:3, 3]
# A strong barrel distortion: several pixels at the corners of the tiny images.
OPENCV = (-0.5, 0.1, 0.01, -0.005)
MODELS = [name for name in pycolmap.CameraModelId.__members__ if name not in ("INVALID", "EQUIRECTANGULAR")]


@pytest.mark.parametrize("text", [False, True])
def test_same_cameras_as_idr_and_colmap_give_the_same_rays(tmp_path, text):
    cameras = write_sphere(tmp_path / "idr")
    write_colmap(tmp_path / "colmap", cameras, text=text, points=POINTS)
    for idr, colmap in zip(read_scene(tmp_path / "idr").views, read_scene(tmp_path / "colmap").views, strict=True):
        pixels = pixel_centres(idr.camera)
        for ours, theirs in zip(idr.camera.rays(pixels), colmap.camera.rays(pixels), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_distorted_cameras_give_the_same_rays(tmp_path):
    write_colmap(tmp_path, ring(), "OPENCV", OPENCV, points=POINTS)
    for view, camera in zip(read_scene(tmp_path).views, ring(), strict=True):
        pinhole_pixels, _ = camera.project(POINTS)
        undistorted_pixels, _ = view.camera.project(POINTS)
        distorted_pixels = view.distorted.img_from_cam(
            POINTS @ camera.camera_from_world[:3, :3].T + camera.camera_from_world[:3, 3]
        )
        assert np.abs(distorted_pixels - pinhole_pixels).max() > 0.5
        np.testing.assert_allclose(view.camera.rays(undistorted_pixels)[1], camera.rays(pinhole_pixels)[1], atol=1e-6)


@pytest.mark.parametrize(("full_size", "image_size"), [(160, None), (320, 160), (800, 160), (400, 163)])
def test_undistorted_image_lands_where_the_pinhole_camera_says(tmp_path, full_size, image_size):
    camera = ring(image_size=full_size)[0]
    write_colmap(tmp_path, [camera], "OPENCV", OPENCV, points=POINTS)
    view = read_scene(tmp_path).views[0]
    rays = view.distorted.cam_from_img(pixel_centres(camera))
    taken = pattern(_unit(rays), waves=40.0).reshape(camera.height, camera.width, 3)
    Image.fromarray(np.round(taken * 255).astype(np.uint8)).save(view.image_path)
    loaded = load_view(view, image_size)
    intrinsics = loaded.camera.intrinsics
    pixels = pixel_centres(loaded.camera)
    expected = pattern(_unit((pixels - intrinsics[:2, 2]) / np.diag(intrinsics)[:2]), waves=40.0)
    error = np.abs(loaded.image.reshape(-1, 3) - expected)
    # A shift of a tenth of a pixel gives 0.006 here on average; bilinear sampling and 8 bits leave 0.002.
    assert error.mean() < 0.004 and error.max() < 0.03


def _unit(rays):
    homogeneous = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
    return homogeneous / np.linalg.norm(homogeneous, axis=1, keepdims=True)


@pytest.mark.parametrize("model", MODELS)
def test_every_camera_model_becomes_a_pinhole_camera(tmp_path, model):
    camera = ring()[0]
    write_colmap(tmp_path, [camera], model, points=POINTS)
    view = read_scene(tmp_path).views[0]
    # The stored focal length is that of x; without distortion the axis and the scale must come through.
    np.testing.assert_allclose(view.camera.intrinsics[0, 0], camera.intrinsics[0, 0], rtol=1e-6)
    np.testing.assert_allclose(view.camera.centre, camera.centre, atol=1e-9)
    assert (view.distorted is None) == ("FISHEYE" not in model and model not in ("FOV", "EUCM"))
    assert load_view(view, None).image.shape == (view.camera.height, view.camera.width, 3)


@pytest.mark.parametrize(
    ("model", "distortion", "said"),
    [
        ("SIMPLE_RADIAL", (1e9,), "100% of the undistorted image would lie beside the photograph"),
        ("OPENCV", (-1e9, 0, 0, 0), "beside the photograph"),
        ("OPENCV", (0, 0, 1e300, 0), "beside the photograph"),
        ("FULL_OPENCV", (0, 0, 0, 0, 0, -50, 0, 0), "it folds the image"),
        ("OPENCV_FISHEYE", (1e9, 0, 0, 0), "beside the photograph"),
        ("FOV", (1e9,), "100% of the pixels of the photograph would have no ray"),
    ],
)
def test_distortion_beyond_sense_is_refused(tmp_path, model, distortion, said):
    write_colmap(tmp_path, ring()[:2], model, distortion)
    with pytest.raises(SceneError, match=rf"{model}: .*makes no sense over an image of 64x48 pixels: .*{said}"):
        read_scene(tmp_path, guess_bounds=True)


@pytest.mark.parametrize(
    ("model", "distortion"),
    [
        ("SIMPLE_RADIAL", (-0.6,)),
        ("SIMPLE_RADIAL", (3.0,)),
        ("OPENCV", (-0.4, 0.2, 0.02, -0.02)),
        ("OPENCV_FISHEYE", (0.2, -0.1, 0.05, 0.0)),
    ],
)
def test_strong_distortion_is_read(tmp_path, model, distortion):
    write_colmap(tmp_path, ring()[:2], model, distortion)
    assert len(read_scene(tmp_path, guess_bounds=True).views) == 2


def test_panorama_is_refused(tmp_path):
    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(pycolmap.Camera.create_from_model_name(1, "EQUIRECTANGULAR", 1.0, 64, 32))
    model.add_image_with_trivial_frame(pycolmap.Image(image_id=1, name="a.png", camera_id=1), pycolmap.Rigid3d())
    (tmp_path / "sparse").mkdir()
    (tmp_path / "images").mkdir()
    Image.new("RGB", (64, 32)).save(tmp_path / "images" / "a.png")
    model.write_binary(str(tmp_path / "sparse"))
    with pytest.raises(SceneError, match="no pinhole image"):
        read_scene(tmp_path)


def test_points_come_with_errors_colours_and_who_saw_them(tmp_path):
    write_colmap(tmp_path, ring()[:4], points=POINTS)
    sparse = read_scene(tmp_path, view_range="1-2").sparse_depth
    np.testing.assert_allclose(sparse.points, POINTS)
    np.testing.assert_allclose(sparse.error, 0.25 + np.arange(30))
    np.testing.assert_allclose(sparse.colors[0] * 255, [10, 20, 30])
    assert sorted(map(tuple, sparse.visibility)) == [(view, point) for view in (0, 1) for point in range(30)]


def test_model_elsewhere_serves_as_cameras_and_as_depth(tmp_path):
    cameras = write_sphere(tmp_path / "scene", with_scale_mat=False)
    folder = write_colmap(tmp_path / "other", cameras, points=POINTS)
    scene = read_scene(tmp_path / "scene", cameras=folder, format_name="colmap")
    assert scene.format == "colmap" and len(scene.sparse_depth.points) == 30
    assert len(read_scene(tmp_path / "scene", depth=folder).sparse_depth.visibility) == 12 * 30


@pytest.mark.parametrize("mask_name", ["left/000000.png", "left/000000.jpg.png", "left/000000.tif"])
def test_masks_are_found_by_name(tmp_path, mask_name):
    camera = ring()[0]
    write_colmap(tmp_path, [camera], points=POINTS, names=["left/000000.jpg"])
    path = tmp_path / "masks" / mask_name
    path.parent.mkdir(parents=True)
    Image.fromarray(sphere_mask(camera)).save(path)
    np.testing.assert_array_equal(load_view(read_scene(tmp_path, masks=True).views[0], None).mask, sphere_mask(camera))


def test_mask_is_undistorted_with_its_image(tmp_path):
    camera = ring(image_size=160)[0]
    write_colmap(tmp_path, [camera], "OPENCV", OPENCV, points=POINTS)
    view = read_scene(tmp_path).views[0]
    distorted_rays = view.distorted.cam_from_img(pixel_centres(camera))
    centre = (distorted_rays**2).sum(axis=1) < 0.15**2
    (tmp_path / "mask").mkdir()
    Image.fromarray(centre.reshape(camera.height, camera.width)).save(tmp_path / "mask" / view.name)
    loaded = load_view(read_scene(tmp_path, masks=True).views[0], None)
    intrinsics = loaded.camera.intrinsics
    radius = np.linalg.norm((pixel_centres(loaded.camera) - intrinsics[:2, 2]) / np.diag(intrinsics)[:2], axis=1)
    pixel = 1 / intrinsics[0, 0]
    assert loaded.mask.reshape(-1)[radius < 0.15 - pixel].all()
    assert not loaded.mask.reshape(-1)[radius > 0.15 + pixel].any()


def test_photographs_at_another_size_get_the_camera_of_that_size(tmp_path):
    camera = ring()[0]
    write_colmap(tmp_path, [camera], points=POINTS)
    Image.new("RGB", (camera.width // 2, camera.height // 2)).save(tmp_path / "images" / "000000.png")
    smaller = read_scene(tmp_path).views[0].camera
    np.testing.assert_allclose(smaller.intrinsics, camera.resized(camera.height // 2, camera.width // 2).intrinsics)
    Image.new("RGB", (camera.width, camera.width)).save(tmp_path / "images" / "000000.png")
    with pytest.raises(SceneError, match="its camera in"):
        read_scene(tmp_path)


def test_name_that_leads_out_of_the_folder_is_refused(tmp_path):
    write_colmap(tmp_path / "scene", ring()[:1], points=POINTS, names=["../secret.png"])
    with pytest.raises(SceneError, match="lies outside"):
        read_scene(tmp_path / "scene")


def test_name_that_no_file_can_have_is_refused_in_few_words(tmp_path):
    folder = write_colmap(tmp_path, ring()[:2], points=POINTS, text=True)
    path = folder / "images.txt"
    path.write_text(path.read_text().replace("000001.png", "1" * 50_000 + ".png"))
    with pytest.raises(SceneError, match="a name of 50004 characters") as error:
        read_scene(tmp_path)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
@pytest.mark.parametrize("kept", [0, 5, 0.5, -6])
def test_model_that_was_cut_off_is_refused(tmp_path, name, kept):
    path = write_colmap(tmp_path, ring()[:3], points=POINTS) / name
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(SceneError, match=rf"{name}.*cut off"):
        read_scene(tmp_path)


def test_model_that_claims_more_than_it_holds_is_refused(tmp_path):
    path = write_colmap(tmp_path, ring()[:1], points=POINTS) / "points3D.bin"
    path.write_bytes((2**60).to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(SceneError, match="damaged"):
        read_scene(tmp_path)


def test_missing_photographs_are_left_out_and_named_with_files_that_look_like_them(tmp_path):
    names = ["IMG_0.JPG", "IMG_1.JPG", "left/2.png", "left/3.png", "left/4.png", "left/5.png"]
    write_colmap(tmp_path, ring()[:6], points=POINTS, names=names)
    images = tmp_path / "images"
    (images / "IMG_1.JPG").rename(images / "img_1.jpg")
    (images / "left" / "2.png").rename(images / "left" / "2.webp")
    (images / "left" / "4.png").unlink()
    scene = read_scene(tmp_path, view_range="1-2")
    assert [view.name for view in scene.views] == ["left/3.png", "left/5.png"]
    assert set(scene.sparse_depth.visibility[:, 0]) == {0, 1}
    (note,) = scene.notes
    assert note.startswith(
        "3 of 6 photographs that sparse/0 lists are missing and left out: IMG_1.JPG (there is img_1.jpg)"
    )
    assert note.endswith("left/2.png (there is left/2.webp), left/4.png")
    for name in ("IMG_0.JPG", "left/3.png", "left/5.png"):
        (images / name).unlink()
    with pytest.raises(SceneError, match=r"lists 6 photographs, and none of them is in .*images: .* and 3 more"):
        read_scene(tmp_path)


@pytest.mark.parametrize("text", [False, True])
def test_which_of_several_models_is_read_is_said(tmp_path, text):
    first = write_colmap(tmp_path, ring()[:3], points=POINTS, text=text)
    assert not read_scene(tmp_path).notes
    shutil.copytree(write_colmap(tmp_path / "other", ring()[:2], text=text), tmp_path / "sparse" / "2")
    (note,) = read_scene(tmp_path).notes
    assert note.startswith("sparse/0 (3 images) is read, one of 2 models") and note.endswith("sparse/2 (2 images)")
    assert not read_scene(tmp_path, cameras=tmp_path / "sparse" / "2").notes
    (tmp_path / "sparse" / "2" / f"images.{'txt' if text else 'bin'}").write_bytes(b"\xff" * 9)
    assert read_scene(tmp_path).notes[0].endswith("sparse/2 (unreadable)")
    shutil.rmtree(first)
    shutil.copytree(tmp_path / "other" / "sparse" / "0", tmp_path / "sparse" / "10")
    shutil.rmtree(tmp_path / "sparse" / "2")
    assert len(read_scene(tmp_path).views) == 2 and not read_scene(tmp_path).notes


def test_missing_folder_and_text_of_nonsense(tmp_path):
    folder = write_colmap(tmp_path, ring()[:2], points=POINTS, text=True)
    (folder / "cameras.txt").write_text("1 PINHOLE nonsense\n")
    with pytest.raises(SceneError):
        read_scene(tmp_path)
    shutil.rmtree(folder)
    with pytest.raises(SceneError, match="holds no cameras in a format that can be read"):
        read_scene(tmp_path, cameras=folder, format_name="colmap")


def test_model_without_points_is_no_depth(tmp_path):
    folder = write_colmap(tmp_path, ring()[:2])
    assert read_scene(tmp_path).sparse_depth is None
    with pytest.raises(DepthError, match="no points"):
        read_sparse_depth(folder, ("000000.png",))
