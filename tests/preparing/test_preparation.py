"""The whole way from photographs to a scene: true poses, the same result however it was reached, and clean errors."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dvr_cli.errors import SceneError
from dvr_cli.preparing.preparation import Preparing, check_places, prepare
from dvr_cli.preparing.stages import Stopped, WorkFolder
from dvr_cli.scenes.images import load_views
from dvr_cli.scenes.readers import read_scene
from tests.preparing.corner import disagreement, tour

UPRIGHT = {3: 2, 6: 1, 8: 3}
"""Quarter turns anticlockwise that store a photograph so that this EXIF orientation turns it back."""


def quiet(stage, done, total):
    pass


def go(source, out, stop=lambda: False, report=quiet, **options):
    check_places(source, out, False)
    return prepare(Preparing(source, out, **{"threads": 1, **options}), report, stop)


def poses(out):
    """Names and camera_from_world of the scene, as the reader for COLMAP finds them."""
    scene = read_scene(out)
    return [view.name for view in scene.views], np.stack([view.camera.camera_from_world for view in scene.views])


@pytest.fixture(scope="module")
def walk():
    return tour(views=8, width=256, height=192)


@pytest.fixture(scope="module")
def prepared(walk, tmp_path_factory):
    """photographs/, out/ and what `prepare` returned."""
    folder = tmp_path_factory.mktemp("prepared")
    walk.save(folder / "photographs", "wall {:02d} ö.png")
    return folder, go(folder / "photographs", folder / "out")


def test_poses_are_the_true_ones(walk, prepared):
    folder, result = prepared
    names, found = poses(folder / "out")
    assert names == [f"wall {index:02d} ö.png" for index in range(8)]
    angles, distances = disagreement(found, walk.camera_from_world)
    # Measured: 0.05 degrees and 0.003.
    assert angles.max() < 0.3 and distances.max() < 0.02
    assert [lens["photographs"] for lens in result.values["cameras"]] == [8]
    assert result.values["cameras"][0]["parameters"][0] == pytest.approx(walk.focal_length, rel=0.02)


def test_scene_loads_with_points_in_its_pictures(prepared):
    folder, _ = prepared
    scene = read_scene(folder / "out")
    views = load_views(scene, None, threads=1)
    sparse = scene.sparse_depth
    assert sparse is not None and len(sparse.points) > 200
    # Colours were taken where the points are seen: the views show them there.
    view_index, point_index = sparse.visibility.T
    for index, view in enumerate(views):
        seen = point_index[view_index == index]
        pixels = view.camera.project(sparse.points[seen])[0]
        inside = ((pixels >= 1) & (pixels < [view.camera.width - 1, view.camera.height - 1])).all(axis=1)
        columns, rows = pixels[inside].astype(int).T
        difference = np.abs(view.image[rows, columns] - sparse.colors[seen][inside])
        assert np.median(difference) < 0.1


def test_summary_tells_what_the_model_holds(prepared):
    folder, result = prepared
    written = json.loads((folder / "out" / "prepare.json").read_text())
    assert written == json.loads(json.dumps(result.values))
    assert written["photographs"] == 8 and len(written["registered"]) == 8 and written["unregistered"] == []
    assert written["reprojection_error"] < 0.5 and written["track_length"] > 3
    assert sum(photograph["points"] for photograph in written["registered"]) == pytest.approx(
        written["points"] * written["track_length"]
    )


def test_second_time_nothing_is_done(prepared):
    folder, first = prepared
    files = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*.bin")}
    again = go(folder / "photographs", folder / "out")
    assert again.repeated and again.values == first.values
    assert files == {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*.bin")}


@pytest.mark.parametrize(
    "lost",
    ["sparse", "images", "images/wall 03 ö.png", "work/poses.json", "work/sparse", "work/scene.json", "prepare.json"],
)
def test_what_is_lost_is_made_again(prepared, tmp_path, lost):
    folder, first = prepared
    out = tmp_path / "out"
    shutil.copytree(folder / "out", out)
    before = {path.relative_to(out): path.read_bytes() for path in (out / "images").rglob("*.png")}
    path = out / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = go(folder / "photographs", out)
    assert again.values == first.values
    assert {path.relative_to(out): path.read_bytes() for path in (out / "images").rglob("*.png")} == before
    np.testing.assert_array_equal(poses(out)[1], poses(folder / "out")[1])


def test_stopped_at_any_stage_it_goes_on_to_the_same_result(prepared, tmp_path):
    """Also with another number of threads."""
    folder, first = prepared
    out = tmp_path / "out"
    stages = ["photographs", "features", "matching", "poses", "undistorting"]
    for stage in stages:
        told = []

        def report(name, done, total, told=told):
            told.append(name)

        with pytest.raises(Stopped):
            go(folder / "photographs", out, lambda told=told, stage=stage: stage in told, report, threads=2)
        # The library may be done with a stage before it is asked to stop; it then stops in the next one.
        assert told[-1] in (stage, *stages[stages.index(stage) + 1 :][:1])
        assert not (out / "prepare.json").exists()
    again = go(folder / "photographs", out, threads=2)
    assert not again.repeated and again.values == {**first.values, "source": again.values["source"]}
    np.testing.assert_array_equal(poses(out)[1], poses(folder / "out")[1])


def test_orientation_and_subfolders_change_nothing(walk, prepared, tmp_path):
    """Photographs stored turned, with the EXIF orientation that says so, give the same scene."""
    folder, first = prepared
    for index, pixels in enumerate(walk.pixels):
        orientation = (3, 6, 8)[index % 3]
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = Image.fromarray(np.ascontiguousarray(np.rot90(pixels, UPRIGHT[orientation])))
        (tmp_path / "turned" / "a").mkdir(parents=True, exist_ok=True)
        stored.save(tmp_path / "turned" / "a" / f"wall {index:02d} ö.png", exif=exif)
    result = go(tmp_path / "turned", tmp_path / "out")
    assert result.values["points"] == first.values["points"]
    names, found = poses(tmp_path / "out")
    assert names == [f"a/wall {index:02d} ö.png" for index in range(8)]
    np.testing.assert_array_equal(found, poses(folder / "out")[1])
    with Image.open(tmp_path / "out" / "images" / names[1]) as image:
        assert image.size[0] > image.size[1] and image.getexif().get(0x0112, 1) == 1


def test_added_photograph_joins_and_old_features_stay(walk, tmp_path):
    out = tmp_path / "out"
    walk.save(tmp_path / "photographs", chosen=range(5))
    go(tmp_path / "photographs", out)
    features = {path.name: path.stat().st_mtime_ns for path in (out / "work" / "features").iterdir()}
    walk.save(tmp_path / "photographs", chosen=[5])
    (tmp_path / "photographs" / "copy.png").write_bytes((tmp_path / "photographs" / "000.png").read_bytes())
    (tmp_path / "photographs" / "cut.png").write_bytes((tmp_path / "photographs" / "001.png").read_bytes()[:2000])
    (tmp_path / "photographs" / "words.jpg").write_text("no photograph")
    (tmp_path / "photographs" / "phone.HEIC").write_text("")
    (tmp_path / "photographs" / "masks").mkdir()
    (tmp_path / "photographs" / "masks" / "000.png").write_text("")
    noise = np.random.default_rng(5).integers(0, 255, (192, 256, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photographs" / "other.png")
    values = go(tmp_path / "photographs", out).values
    assert values["photographs"] == 7 and len(values["registered"]) == 6
    assert values["unregistered"] == ["other.png"] and values["advice"][0].startswith("other.png could not be")
    assert values["copies"] == {"copy.png": "000.png"}
    assert set(values["unreadable"]) == {"cut.png", "words.jpg"}
    assert any("HEIC" in note and "convert" in note for note in values["notes"])
    assert any("masks/" in note for note in values["notes"])
    kept = {path.name: path.stat().st_mtime_ns for path in (out / "work" / "features").iterdir()}
    assert len(kept) == 7 and features.items() <= kept.items()


def test_photographs_without_overlap_are_refused_with_advice(tmp_path):
    generator = np.random.default_rng(1)
    (tmp_path / "noise").mkdir()
    for index in range(4):
        pixels = generator.integers(0, 255, (96, 128, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "noise" / f"{index}.png")
    with pytest.raises(SceneError, match=r"No two of the 4 photographs could be connected(.|\n)*overlapping"):
        go(tmp_path / "noise", tmp_path / "out")
    # Even pictures have no features at all.
    (tmp_path / "even").mkdir()
    for index in range(3):
        Image.new("RGB", (96, 128), (index, 90, 90)).save(tmp_path / "even" / f"{index}.png")
    with pytest.raises(SceneError, match="No two of the 3"):
        go(tmp_path / "even", tmp_path / "other")


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_photographs_are_refused(walk, tmp_path, count):
    walk.save(tmp_path / "few", chosen=range(count))
    (tmp_path / "few" / "note.txt").write_text("hello")
    message = "holds no photographs" if count == 0 else "1 photograph was found that can be used: at least 2"
    with pytest.raises(SceneError, match=message):
        go(tmp_path / "few", tmp_path / "out")


def test_folder_of_cut_photographs_is_refused_by_name(prepared, tmp_path):
    folder, _ = prepared
    (tmp_path / "cut").mkdir()
    for path in (folder / "photographs").iterdir():
        (tmp_path / "cut" / path.name).write_bytes(path.read_bytes()[:3000])
    with pytest.raises(SceneError, match=r"No photographs were found(.|\n)*wall 00 ö.png"):
        go(tmp_path / "cut", tmp_path / "out")


def test_places_are_checked_before_anything_is_written(walk, prepared, tmp_path):
    photographs = walk.save(tmp_path / "photographs", chosen=range(2))
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    for source, out, message in [
        (tmp_path / "nowhere", tmp_path / "out", "does not exist"),
        (tmp_path / "text.txt", tmp_path / "out", "neither a folder of photographs nor a video"),
        (photographs, photographs / "out", "lies in"),
        (photographs, photographs, "lies in"),
        (photographs, tmp_path, "lies in"),
        (photographs, tmp_path / "text.txt", "is a file"),
        (photographs, tmp_path / "mine", "did not write"),
    ]:
        with pytest.raises(SceneError, match=message):
            check_places(source, out, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "photographs", "text.txt"]
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "precious"


def test_overwriting_removes_only_what_was_prepared(prepared, tmp_path):
    folder, _ = prepared
    out = tmp_path / "out"
    shutil.copytree(folder / "out", out)
    (out / "notes.txt").write_text("mine")
    (out / "masks").mkdir()
    (out / "masks" / "drawn by hand.png").write_text("mine")
    with pytest.raises(SceneError, match="did not make"):
        go(folder / "photographs", out, masks="auto")
    check_places(folder / "photographs", out, True)
    assert sorted(path.name for path in out.iterdir()) == ["masks", "notes.txt"]


def test_one_process_at_a_time(prepared, tmp_path):
    folder, _ = prepared
    with WorkFolder(tmp_path / "out"), pytest.raises(SceneError, match="Another dvr prepare"):
        go(folder / "photographs", tmp_path / "out")


def test_smaller_pictures_have_smaller_cameras(prepared, tmp_path):
    folder, first = prepared
    out = tmp_path / "out"
    shutil.copytree(folder / "out", out)
    go(folder / "photographs", out, image_size=128)
    full, small = read_scene(folder / "out"), read_scene(out)
    for before, after in zip(full.views, small.views, strict=True):
        assert max(after.camera.height, after.camera.width) <= 128
        np.testing.assert_array_equal(before.camera.camera_from_world, after.camera.camera_from_world)
        scale = after.camera.width / before.camera.width
        np.testing.assert_allclose(after.camera.intrinsics[:2], before.camera.intrinsics[:2] * scale, rtol=0.02, atol=1)
    assert Path(first.values["source"]) == folder / "photographs"
