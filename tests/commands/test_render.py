"""`dvr render` through the command line: what it writes, how it says it, and every kind of bad input.

The scene is a textured ball on the disk, the mesh its exact surface with colours.
"""

import json
import shutil

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from dvr_cli.commands.arguments import Command
from dvr_cli.commands.render import render_command
from dvr_cli.errors import DvrError
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.fitting.scene_description import describe_scene, read_described_scene
from dvr_cli.scenes.synthetic import sphere, synthetic_scene, write_scene
from dvr_cli.surfaces.export import write_mesh
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.viewing.render import Painter
from tests.fitting.tiny_runs import TINY, exact_mesh, fit

SIZE = 96
APP = typer.Typer()
APP.command(cls=Command)(render_command)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """scene/, runs/ball (a finished run), exact.ply (the true surface, coloured) and bare.stl."""
    folder = tmp_path_factory.mktemp("render")
    shape = sphere(0.6)
    made, photographs, _ = synthetic_scene(shape, views=8, image_size=SIZE)
    write_scene(folder / "scene", photographs, made.world_from_unit)
    scene = read_described_scene(folder / "scene", {"masks": True})
    fit(scene, folder / "runs" / "ball", TINY)
    mesh = exact_mesh(shape, scene)
    write_mesh(mesh, folder / "exact.ply")
    write_mesh(mesh, folder / "bare.stl")
    assert describe_scene(scene, {"masks": True})["views"] and RunFolder.open(folder / "runs" / "ball")
    return folder


@pytest.fixture
def place(template, tmp_path, monkeypatch):
    folder = tmp_path / "place"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    return folder


def render(*arguments):
    """The JSON of `dvr render`."""
    result = CliRunner().invoke(APP, [str(argument) for argument in (*arguments, "--json")])
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def refused(*arguments):
    """The message of a DvrError, or of a misuse of the command line."""
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments])
    if isinstance(result.exception, DvrError):
        return str(result.exception)
    return misused(*arguments)


def misused(*arguments):
    """The message of a misuse of the command line."""
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments])
    assert result.exit_code == 2, (result.output, result.exception)
    return " ".join(result.output.replace("│", " ").split())


def test_latest_run_turns_with_its_colours(place):
    found = render("--turntable", "turn.webp", "--frames", 5, "--fps", 10, "--size", 64)
    assert found["source"] == "runs/ball" and found["what"] == "texture" and found["pictures"] == []
    about = found["turntable"]
    assert about["frames"] == 5 and about["seconds"] == 0.5 and "as the cameras were held" in about["up"]
    with Image.open("turn.webp") as image:
        assert image.n_frames == 5 and image.size == (about["width"], about["height"]) and max(image.size) == 64


def test_a_mesh_alone_says_what_it_takes_for_up(place):
    assert "assumed" in render("exact.ply", "--turntable", "a.gif", "--frames", 3, "--size", 32)["turntable"]["up"]
    turned = render("exact.ply", "--turntable", "a.gif", "--frames", 3, "--size", 32, "--up", "-y")["turntable"]
    assert turned["up_vector"] == [0, -1, 0]
    with Image.open("a.gif") as image:
        assert np.asarray(image.convert("RGB")).std() > 5


@pytest.mark.parametrize("what", ["shaded", "texture", "normals", "depth"])
def test_views_are_as_large_as_the_photographs_and_where_the_object_is(place, what):
    found = render("exact.ply", "--scene", "scene", "--masks", "--views", "0,2-3", "--what", what)
    assert [picture["index"] for picture in found["pictures"]] == [0, 2, 3]
    assert {path.parent.name for path in map(place.__class__, [p["file"] for p in found["pictures"]])} == {
        "exact_renders"
    }
    for picture in found["pictures"]:
        image = np.asarray(Image.open(picture["file"]))
        mask = np.asarray(Image.open(f"scene/mask/{picture['view']}").convert("L")) > 127
        outside = image[~mask & (image.std(axis=-1) < 2)]
        assert image.shape[:2] == mask.shape and len(outside) > 100
        assert np.abs(image[mask].astype(float) - (247, 247, 245)).sum(axis=-1).mean() > 30


def test_sizes_backgrounds_and_folders(place):
    common = ("exact.ply", "--scene", "scene", "--views", "1", "--out", "new/folder")
    (large,) = render(*common, "--size", 2 * SIZE, "--background", "transparent")["pictures"]
    image = Image.open(large["file"])
    assert large["file"].startswith("new/folder/") and image.mode == "RGBA" and max(image.size) == 2 * SIZE
    alpha = np.asarray(image)[..., 3]
    assert {0, 255} <= set(np.unique(alpha).tolist())
    (before,) = render(*common, "--background", "photograph")["pictures"]
    photograph = np.asarray(Image.open(f"scene/image/{before['view']}").convert("RGB"))
    mask = np.asarray(Image.open(f"scene/mask/{before['view']}").convert("L")) > 127
    seen = np.asarray(Image.open(before["file"]))
    assert (seen == photograph)[~mask].mean() > 0.9


def test_what_brightness_means_as_depth_is_told_whatever_is_behind_it(place):
    common = ("exact.ply", "--scene", "scene", "--views", "1", "--what", "depth")
    (plain,) = render(*common)["pictures"]
    (before,) = render(*common, "--background", "photograph")["pictures"]
    nearest, farthest = plain["depth_range"]
    assert 0 < nearest < farthest and before["depth_range"] == pytest.approx(plain["depth_range"])
    (shaded,) = render(*common[:-1], "shaded", "--background", "photograph")["pictures"]
    assert "depth_range" not in shaded


def test_error_of_a_mesh_whose_rendering_is_the_photograph_is_zero(place):
    """The photographs are replaced by what the mesh looks like."""
    from dvr_cli.surfaces.export import read_mesh

    mesh = read_mesh(place / "exact.ply")
    for view in read_described_scene(place / "scene", {"masks": True}).views:
        layer = Painter(mesh).draw(view.camera, "colour", 2)
        Image.fromarray(np.round(255 * layer.colour).astype(np.uint8)).save(view.image_path)
        Image.fromarray(np.where(layer.coverage > 0.5, 255, 0).astype(np.uint8)).save(view.mask_path)
    arguments = ("exact.ply", "--scene", "scene", "--masks", "--views", "all", "--what", "error")
    exact = render(*arguments)["pictures"]
    assert len(exact) == 8
    assert all(p["mean_error"] < 0.5 / 255 and p["missed"] == 0 for p in exact)
    hue = np.unique(np.asarray(Image.open(exact[0]["file"])).reshape(-1, 3), axis=0)
    assert len(hue) <= 4
    black = Mesh(mesh.vertices, mesh.faces, None, np.zeros_like(mesh.vertices))
    write_mesh(black, place / "black.ply")
    for picture in render("black.ply", *arguments[1:])["pictures"]:
        photograph = np.asarray(Image.open(f"scene/image/{picture['view']}").convert("RGB")) / 255
        mask = np.asarray(Image.open(f"scene/mask/{picture['view']}")) > 127
        assert picture["mean_error"] == pytest.approx(photograph[mask].mean(), abs=1e-3)


def test_what_cannot_be_meant_is_refused(place):
    assert "nothing to draw" in misused("exact.ply")
    assert "--turntable FILE" in misused("exact.ply") and "--views all" in misused("exact.ply")
    assert "pass one of them" in misused("exact.ply", "--turntable", "a.gif", "--frames", 5, "--seconds", 2)
    assert "without --turntable" in misused("exact.ply", "--turntable", "a.gif", "--what", "error")
    assert "no axis" in misused("exact.ply", "--turntable", "a.gif", "--up", "w")
    assert "pass --scene" in misused("exact.ply", "--turntable", "a.gif", "--masks")
    assert "about a turntable" in misused("exact.ply", "--scene", "scene", "--views", "0", "--fps", 3)
    assert "no format '.avi'" in misused("exact.ply", "--turntable", "a.avi")
    assert "cannot be transparent" in misused("exact.ply", "--turntable", "a.mp4", "--background", "transparent")
    assert "folder of --views" in misused("exact.ply", "--turntable", "a.gif", "--out", "x")


def test_bad_input_is_named(place):
    assert "0-7" in refused("exact.ply", "--scene", "scene", "--views", "0,8")
    assert "does not know the cameras" in refused("exact.ply", "--views", "0")
    assert "does not exist" in refused("missing.ply", "--turntable", "a.gif")
    assert "is not a run" in refused("scene", "--turntable", "a.gif")
    assert "neither a texture nor vertex colours" in refused("bare.stl", "--turntable", "a.gif", "--what", "texture")
    far = Mesh(np.eye(3) + 1e6, np.array([[0, 1, 2]]))
    write_mesh(far, place / "far.ply")
    assert "None of 8 cameras" in refused("far.ply", "--scene", "scene", "--views", "0")
    assert not list(place.glob("*.gif"))


def test_a_mesh_without_colours_is_shaded(place):
    assert render("bare.stl", "--turntable", "a.gif", "--frames", 2, "--size", 32)["what"] == "shaded"


def test_a_run_whose_scene_is_gone_still_turns(place):
    description = json.loads((place / "runs/ball/scene.json").read_text())
    (place / "runs/ball/scene.json").write_text(json.dumps({**description, "root": str(place / "gone")}))
    about = render("runs/ball", "--turntable", "a.gif", "--frames", 2, "--size", 32)["turntable"]
    assert "assumed" in about["up"]
    assert "gone" in refused("runs/ball", "--views", "0")
