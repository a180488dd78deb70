"""Bundler's output: axes, the middle of the image and distortion by hand, names from elsewhere, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from dvr_cli.errors import SceneError
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.readers.bundler import accepts, find, read, write
from dvr_cli.scenes.readers.bundler_file import read_bundle, reprojection_errors
from dvr_cli.scenes.writing import PixelsToWrite
from tests.scenes.tiny_scenes import photograph, ring

# By hand: camera 0 at (0, 0, 2) in a world with y up, looking along -z; camera 2 at (2, 0, 0), looking along -x, with
# -z to its right. Camera 1 was not registered.
FRONT = "100 0 0\n1 0 0\n0 1 0\n0 0 1\n0 0 -2"
SIDE = "100 0 0\n0 0 -1\n0 1 0\n1 0 0\n0 0 -2"
UNREGISTERED = "0 0 0\n0 0 0\n0 0 0\n0 0 0\n0 0 0"
# (0.2, 0.1, 0) is 0.1 to the right and 0.05 above the axis at depth 1 of camera 0: at (10, 5) from the middle, y up.
POINTS = "0.2 0.1 0\n255 0 51\n2 0 7 10 5 2 3 0 5.5555555555\n0 0 0\n0 0 0\n1 2 0 3 4"


def bundle_text(cameras=(FRONT, UNREGISTERED, SIDE), points=POINTS, point_count=2, header="# Bundle file v0.3"):
    """The text of a bundle.out."""
    return "\n".join([header, f"{len(cameras)} {point_count}", *cameras, points])


def write_bundle_scene(folder, text=None, listed=("images/a b.png", "images/lost.png", "images/c.png"), places=()):
    """Photographs of 60x40 pixels in images/, bundle.out, list.txt."""
    for place in places or ("images/a b.png", "images/c.png"):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40)).save(path)
    (folder / "bundle.out").write_text(bundle_text() if text is None else text)
    (folder / "list.txt").write_text("\n".join(listed) + "\n")
    return folder


def test_axes_and_middle_by_hand(tmp_path):
    scene = read_scene(write_bundle_scene(tmp_path))
    assert (scene.format, [view.name for view in scene.views]) == ("bundler", ["a b.png", "c.png"])
    np.testing.assert_allclose([view.camera.centre for view in scene.views], [[0, 0, 2], [2, 0, 0]], atol=1e-12)
    point = np.array([[0.2, 0.1, 0.0]])
    # From the corner with y down: (30 + 10, 20 - 5). From the side it lies on the axis in x, at depth 1.8.
    for view, pixel, depth in zip(scene.views, ([40, 15], [30, 20 - 100 / 18]), (2.0, 1.8), strict=True):
        found, found_depth = view.camera.project(point)
        np.testing.assert_allclose(found[0], pixel, atol=1e-12)
        np.testing.assert_allclose(found_depth, depth, atol=1e-12)
        assert view.distorted is None


def test_points_know_colours_views_and_errors(tmp_path):
    sparse = read_scene(write_bundle_scene(tmp_path)).sparse_depth
    np.testing.assert_allclose(sparse.points, [[0.2, 0.1, 0], [0, 0, 0]])
    np.testing.assert_allclose(sparse.colors, [[1, 0, 0.2], [0, 0, 0]])
    np.testing.assert_array_equal(sparse.visibility, [[0, 0], [1, 0], [1, 1]])
    # The second point is seen in the middle, and said to be 3 and 4 pixels beside it.
    np.testing.assert_allclose(sparse.error, [0, 5], atol=1e-9)


def test_chosen_views_keep_their_points(tmp_path):
    write_bundle_scene(tmp_path)
    found = read(tmp_path, tmp_path / "bundle.out", "1")
    assert [view.name for view in found.views] == ["c.png"]
    np.testing.assert_array_equal(found.sparse_depth.visibility, [[0, 0], [0, 1]])


def test_unregistered_cameras_and_missing_photographs_are_said(tmp_path):
    text = bundle_text(cameras=(FRONT, UNREGISTERED, SIDE, FRONT))
    listed = ("images/a b.png", "images/c.png", "images/c.png", "images/gone.png")
    scene = read_scene(write_bundle_scene(tmp_path, text, listed))
    assert "1 of 4 cameras in bundle.out are not registered" in scene.notes
    assert "1 of 3 photographs that bundle.out lists are missing and left out: images/gone.png" in scene.notes
    np.testing.assert_allclose(scene.views[1].camera.centre, [2, 0, 0], atol=1e-12)


def test_distortion_by_hand(tmp_path):
    # The point's |p|^2 is 0.1^2 + 0.05^2 = 0.0125, so the factor is 1 - 0.4 * 0.0125 + 8 * 0.0125^2 = 0.99625.
    text = bundle_text(cameras=(FRONT.replace("100 0 0", "100 -0.4 8"), UNREGISTERED, SIDE))
    scene = read_scene(write_bundle_scene(tmp_path, text))
    lens = scene.views[0].distorted
    place = np.asarray(lens.img_from_cam(np.array([[0.1, -0.05, 1.0]])))[0]
    np.testing.assert_allclose(place, [30 + 9.9625, 20 - 4.98125], atol=1e-9)
    bundle = read_bundle(tmp_path / "bundle.out")
    expected = (np.linalg.norm([10 - 9.9625, 5 - 4.98125]) + 0) / 2
    np.testing.assert_allclose(reprojection_errors(bundle)[0], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("listed", "place"),
    [
        ("./images/a.jpg", "images/a.jpg"),
        ("a.jpg 0 1234.5", "a.jpg"),
        ("a.jpg 0", "image/a.jpg"),
        ("cam1/a.jpg", "images/cam1/a.jpg"),
        ("/home/somebody/photos/a.jpg 0 50", "images/a.jpg"),
        ("C:\\photos\\a.jpg", "a.jpg"),
        ("..\\..\\photos\\a.jpg", "images/a.jpg"),
        ("../a.jpg", "a.jpg"),
    ],
)
def test_names_from_elsewhere_are_found_in_the_scene(tmp_path, listed, place):
    folder = tmp_path / "scene"
    folder.mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg")
    names = (listed, "lost.jpg", "images/c.png")
    scene = read_scene(write_bundle_scene(folder, listed=names, places=(place, "images/c.png")))
    assert folder / place in [view.image_path for view in scene.views]


@pytest.mark.parametrize("listed", ["/etc/passwd", "../../outside.png", "..", "/", "images/\0.png", "a" * 5000])
def test_names_outside_are_never_opened(tmp_path, listed):
    folder = tmp_path / "scene"
    folder.mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "outside.png")
    scene = write_bundle_scene(folder, listed=(listed, "lost.png", "images/c.png"))
    found = read(scene, scene / "bundle.out", None)
    assert [view.name for view in found.views] == ["c.png"]
    assert "1 of 2 photographs" in found.notes[0]


@pytest.mark.parametrize("place", ["bundle.out", "bundle/bundle.out", "house.bundle.out"])
def test_where_it_is_found(tmp_path, place):
    assert find(tmp_path) is None
    write_bundle_scene(tmp_path)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / "bundle.out").rename(tmp_path / place)
    if place == "house.bundle.out":
        (tmp_path / "list.txt").rename(tmp_path / "house.list.txt")
    assert find(tmp_path) == tmp_path / place
    assert accepts(tmp_path / place)
    assert not accepts(tmp_path / "images" / "c.png")
    assert len(read_scene(tmp_path).views) == 2


def test_written_points_keep_who_saw_them(tmp_path):
    scene = read_scene(write_bundle_scene(tmp_path))
    views = [PixelsToWrite(view.name, view.camera, np.zeros((40, 60, 3))) for view in scene.views]
    (tmp_path / "again").mkdir()
    write(tmp_path / "again", views, None, scene.sparse_depth)
    sparse = read_scene(tmp_path / "again").sparse_depth
    np.testing.assert_array_equal(sparse.visibility, scene.sparse_depth.visibility)
    np.testing.assert_allclose(sparse.points, scene.sparse_depth.points)
    np.testing.assert_allclose(sparse.colors, scene.sparse_depth.colors)
    np.testing.assert_allclose(sparse.error, 0, atol=1e-9)


def test_writer_refuses_what_the_format_cannot_hold(tmp_path):
    views = [PixelsToWrite("a.png", camera, photograph(camera)) for camera in ring(2)]
    with pytest.raises(SceneError, match=r"a\.png.*focal lengths"):
        write(tmp_path, views)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected '# Bundle file v0.3'"),
        (bundle_text(header="# Bundle file v0.4"), "expected '# Bundle file v0.3'"),
        ("# Bundle file v0.3", "no counts"),
        ("# Bundle file v0.3\n   \n", "no counts"),
        ("# Bundle file v0.3\n0 0", "announces 0 cameras"),
        ("# Bundle file v0.3\n1e300 1e300", "announces 1000000000000 cameras"),
        ("# Bundle file v0.3\n-3 0", "-3 is no count"),
        (bundle_text().replace("3 2\n", "3 99999999\n"), "cut off"),
        (bundle_text(points=POINTS[:-4]), "cut off"),
        (bundle_text(points=POINTS.replace("\n2 0 7", "\n2.5 0 7")), "2.5 is no count"),
        (bundle_text(points=POINTS.replace("\n2 0 7", "\n1e15 0 7")), "ends within point 0"),
        (bundle_text(points=POINTS.replace("\n2 0 7", "\n2 3 7")), "cameras for its points that it does not have"),
        (bundle_text(points=POINTS.replace("\n2 0 7", "\n2 -1 7")), "cameras for its points that it does not have"),
        (bundle_text(points=POINTS.replace("0.2", "nan")), "finite numbers"),
        (bundle_text(points=POINTS.replace("0.2", "x")), "finite numbers"),
        (bundle_text(points=POINTS.replace("0.2", "1e999")), "finite numbers"),
        (bundle_text(cameras=(UNREGISTERED,) * 3), "0 registered cameras"),
        (bundle_text(cameras=(FRONT.replace("100", "-100"), UNREGISTERED, SIDE)), "focal length -100"),
        (bundle_text(cameras=(FRONT.replace("0 0 1\n", "0 0 -1\n"), UNREGISTERED, SIDE)), "no rigid motion"),
        (bundle_text(cameras=(FRONT.replace("0 0 1\n", "0 0 1e200\n"), UNREGISTERED, SIDE)), "no rigid motion"),
        (bundle_text(cameras=(FRONT, SIDE), points="", point_count=0), "names 3 photographs, bundle.out has 2 cameras"),
    ],
)
def test_what_is_refused(tmp_path, text, message):
    with pytest.raises(SceneError, match=message):
        read_scene(write_bundle_scene(tmp_path, text))


def test_scene_without_list_or_with_one_name_twice_is_refused(tmp_path):
    write_bundle_scene(tmp_path, listed=("images/c.png", "lost.png", "elsewhere/c.png"))
    with pytest.raises(SceneError, match=r"the photograph c\.png"):
        read_scene(tmp_path)
    (tmp_path / "list.txt").unlink()
    with pytest.raises(SceneError, match=r"no list\.txt"):
        read_scene(tmp_path)


def test_points_out_of_all_bounds_are_refused(tmp_path):
    text = bundle_text(points=POINTS.replace("0.2 0.1", "1e200 -1e200"))
    with pytest.raises(SceneError, match="'points' holds 2 values"):
        read_scene(write_bundle_scene(tmp_path, text))
