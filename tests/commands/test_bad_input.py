"""Bad input through the command line: exit code 1, a message that says what to mend, no traceback, and nothing lost.

Every command here is to overwrite a finished run; the input is found bad before that, so the run must be as it was.
"""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dvr_cli import app
from dvr_cli.config import Level, Settings, Start
from dvr_cli.config_io import write_settings
from dvr_cli.fitting.course import FORMAT
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.surfaces.export import read_mesh
from tests.scenes.tiny_scenes import change_arrays, ring, write_colmap, write_sphere

TINY = Settings(
    preset="fast",
    levels=(Level(voxels=16, image_size=48, steps=4), Level(voxels=24, steps=4)),
    start=Start(voxels=24, image_size=48, planes=16, pixel_step=2),
    rays_per_step=512,
    device="cpu",
    threads=1,
)


def dvr(*arguments) -> int:
    """Run a command line within this process; returns the exit code."""
    with pytest.raises(SystemExit) as exited:
        app.main([str(argument) for argument in arguments])
    return int(exited.value.code or 0)


def reconstruct(*options) -> int:
    """Reconstruct the scene `ball` into the folder `run` of the current folder."""
    return dvr("reconstruct", "ball", "--masks", "--config", "tiny.toml", "--out", "run", *options)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, but not the lock: that names whoever came last."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A folder with a scene, settings for it and a finished run."""
    folder = tmp_path_factory.mktemp("bad_input")
    write_sphere(folder / "ball")
    write_settings(TINY, folder / "tiny.toml")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert reconstruct("--quiet") == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def place(tmp_path, template, monkeypatch):
    """A copy of the template, as the current folder."""
    folder = tmp_path / "place"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def refused(place, capsys):
    """A function that gives the command, expects each of the phrases in its message and the run to be as it was."""
    before = files_of(place / "run")
    assert len([name for name in before if name.startswith("checkpoints/")]) == 2

    def check(*phrases: str, options=("--overwrite",)) -> str:
        assert reconstruct(*options) == 1
        shown = capsys.readouterr()
        assert all(phrase in shown.err for phrase in phrases), shown.err
        assert shown.out == "" and not any(word in shown.err for word in ("Traceback", "Internal error"))
        assert files_of(place / "run") == before
        return shown.err

    return check


def change_camera(matrix) -> None:
    """Put another matrix in the place of the camera of image 5."""
    change_arrays(Path("ball/cameras.npz"), lambda arrays: arrays.update(world_mat_5=matrix))


def save_points(points) -> None:
    np.savez("ball/sparse.npz", points=points)


def test_good_input_is_accepted(place, capsys):
    """Otherwise the other tests would say nothing."""
    assert reconstruct("--overwrite") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Next: dvr export mesh.ply --run run"


def test_missing_images_of_a_model(refused):
    shutil.rmtree("ball")
    write_colmap(Path("ball"), ring(4))
    shutil.move("ball/images", "ball/masks")
    Path("ball/images").mkdir()
    refused("none of them is in ball/images", "000002.png and 1 more")


def test_missing_image_that_leaves_its_camera_unknown(refused):
    for path in Path("ball/image").iterdir():
        path.rename(path.with_name(f"view{path.name}"))
    Path("ball/image/view000004.png").unlink()
    refused("12 cameras for 11 images")


def test_image_that_went_missing_since_the_run_began(refused):
    Path("ball/image/000004.png").unlink()
    refused("number or names of the views (12 -> 11)", options=["--resume"])


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_unreadable_image(refused, content):
    path = Path("ball/image/000003.png")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    refused("ball/image/000003.png cannot be decoded", "copy it again", "--views")


def test_unreadable_mask(refused):
    Path("ball/mask/000003.png").write_bytes(b"no picture")
    refused("ball/mask/000003.png cannot be decoded")


def test_mask_of_another_aspect_ratio(refused):
    Image.new("L", (64, 64), 255).save("ball/mask/000003.png")
    refused("000003.png is 64x64 pixels", "aspect ratio")


def test_no_mask_where_masks_were_asked(refused):
    for path in Path("ball/mask").iterdir():
        path.unlink()
    refused("no mask for any of 12 images", "--masks auto or --no-masks")


def test_no_masks_at_all(refused):
    shutil.rmtree("ball/mask")
    refused("Masks were asked for", "ball/mask")


def test_fewer_cameras_than_images(refused):
    change_arrays(Path("ball/cameras.npz"), lambda arrays: [arrays.pop(f"world_mat_{index}") for index in (10, 11)])
    refused("no key 'world_mat_10'", "found world_mat_0..9 for 12 images", "Pass --views 0-9")


def test_camera_with_nan(refused):
    change_camera(np.full((4, 4), np.nan))
    refused("world_mat_5", "NaN", "--views")


def test_singular_camera(refused):
    change_camera(np.ones((4, 4)))
    refused("world_mat_5", "singular", "--views")


def test_mirrored_camera(refused):
    def mirror(arrays):
        arrays["world_mat_5"] = np.diag([-1.0, 1.0, 1.0, 1.0]) @ arrays["world_mat_5"]

    change_arrays(Path("ball/cameras.npz"), mirror)
    refused("world_mat_5", "mirrored", "x right, y down, z forward")


def test_object_outside_the_images(refused):
    def move(arrays):
        for key in [key for key in arrays if key.startswith("scale_mat")]:
            arrays[key] = arrays[key] + np.array([[0, 0, 0, 100]] * 3 + [[0, 0, 0, 0]])

    change_arrays(Path("ball/cameras.npz"), move)
    refused(
        "The object is not where the region of interest (from scale_mat in cameras.npz) has it", "leave scale_mat out"
    )


def test_empty_hull_names_the_masks_that_conflict(refused):
    for index in (2, 7):
        Image.new("L", (64, 48), 0).save(f"ball/mask/{index:06d}.png")
    refused("The hull is empty", "without 2 of them: 000002.png, 000007.png.", "--views")


def test_masks_that_are_all_wrong(refused):
    for index in range(12):
        Image.new("L", (64, 48), 0).save(f"ball/mask/{index:06d}.png")
    refused("12 masks black all over", "there is no hull", "white on the object")


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((5, 2)), "shape (5, 2)"),
        (np.zeros((0, 3)), "0 points"),
        (np.array([[0, 0, 0], [0, np.nan, 0]]), "NaN or infinite, the first in row 1"),
        (np.array([{"x": 1.0}], dtype=object), "pickled"),
    ],
)
def test_sparse_points_that_cannot_be_used(refused, points, message):
    save_points(points)
    refused("sparse.npz", message, options=["--overwrite", "--depth", "sparse.npz"])


def test_sparse_points_that_are_no_archive(refused):
    Path("ball/sparse.npz").write_bytes(b"PK\x03\x04 cut off")
    refused("sparse.npz", options=["--overwrite", "--depth", "sparse.npz"])


def test_truncated_checkpoint_gives_way_to_the_one_before(place, capsys):
    run = RunFolder.open(place / "run")
    earlier, newest = run.checkpoints.steps()
    shorten(run.checkpoints.path_of(newest))
    assert reconstruct("--resume") == 0
    message = capsys.readouterr().err
    assert f"checkpoint_{newest:06d}.pt cannot be used and is passed over" in message
    assert RunFolder.open(place / "run").summary["resumed_from"] == earlier


def test_truncated_checkpoints_only(place, capsys):
    run = RunFolder.open(place / "run")
    for step in run.checkpoints.steps():
        shorten(run.checkpoints.path_of(step))
    before = files_of(place / "run")
    for arguments in (["reconstruct", "ball", "--out", "run", "--resume"], ["export", "mesh.ply", "--run", "run"]):
        assert dvr(*arguments) == 1
        message = capsys.readouterr().err
        assert "No checkpoint in run/checkpoints can be used" in message and "anew with --overwrite" in message
    after = files_of(place / "run")
    assert {name: after[name] for name in before if name != "scene.json"} == {
        name: before[name] for name in before if name != "scene.json"
    }
    assert not (place / "mesh.ply").exists()


def shorten(path: Path) -> None:
    """Cut a file in half, as a full disk or a broken copy does."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.fixture
def full_disk(monkeypatch):
    """A function after whose call no file can be written any more, once `allowed` more have been."""
    real, left = os.replace, [10**6]

    def replace(source, target):
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1
        real(source, target)

    def fill(allowed: int) -> None:
        left[0] = allowed
        monkeypatch.setattr(os, "replace", replace)

    yield fill
    monkeypatch.setattr(os, "replace", real)


@pytest.mark.parametrize("allowed", [0, 1, 2, 3, 4])
def test_full_disk_at_any_moment_of_a_new_run(place, capsys, full_disk, allowed):
    """Scene, settings, first checkpoint, those after the levels, previews: all can fail, and the run can go on."""
    full_disk(allowed)
    assert reconstruct("--out", "other") == 1
    message = capsys.readouterr().err
    assert "no space left on the disk" in message and "Traceback" not in message
    full_disk(10**6)
    assert reconstruct("--out", "other", *(["--resume"] if (place / "other" / "config.toml").exists() else [])) == 0


def test_full_disk_leaves_the_mesh_of_an_earlier_export(place, capsys, full_disk):
    assert dvr("export", "mesh.ply", "--run", "run") == 0
    before = files_of(place)
    full_disk(0)
    assert dvr("export", "mesh.ply", "--run", "run", "--resolution", "16") == 1
    assert "mesh.ply: there is no space left on the disk" in capsys.readouterr().err
    assert files_of(place) == before and len(read_mesh(place / "mesh.ply").faces)


def test_two_runs_in_one_folder(place, refused):
    with RunFolder.create(place / "run", TINY, RunFolder.open(place / "run").scene_description, overwrite=True):
        refused(f"run is in use by process {os.getpid()}", "--out")
        refused(f"run is in use by process {os.getpid()}", "--out", options=["--resume"])


def test_checkpoint_of_other_content(place, capsys):
    run = RunFolder.open(place / "run")
    for step in run.checkpoints.steps():
        torch.save({"format": FORMAT}, run.checkpoints.path_of(step))
    assert dvr("export", "mesh.ply", "--run", "run") == 1
    assert "The checkpoint is incomplete" in capsys.readouterr().err
    assert not (place / "mesh.ply").exists()
