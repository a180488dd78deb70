"""What `dvr export` can be told: faces, errors, a base, colours, axes and units; and what it does when things are gone.

The field is a ball (see analytic_run); photographs are small, and so are the textures.
"""

import errno
import json
import shutil

import numpy as np
import pytest
import trimesh
import typer
from analytic_run import BALL, SCALE, WORLD_FROM_UNIT, make_run, write_ball_scene
from PIL import Image
from typer.testing import CliRunner

from dvr_cli.commands.export import export_command
from dvr_cli.commands.texturing import affordable_size, shares
from dvr_cli.errors import ExportError, SceneError
from dvr_cli.fitting.scene_description import read_described_scene
from dvr_cli.scenes.rig import up_direction
from dvr_cli.surfaces.export import read_mesh, write_mesh
from dvr_cli.surfaces.mesh import Mesh

SMALL = ("--resolution", "48", "--texture-size", "128")
CENTRE = WORLD_FROM_UNIT[:3, 3]
RADIUS = 0.5 * SCALE


@pytest.fixture
def scene_folder(tmp_path):
    folder = tmp_path / "ball"
    write_ball_scene(folder, views=9)
    return folder


@pytest.fixture
def run_folder(tmp_path, scene_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_run(tmp_path / "runs" / "ball", scene_folder, monkeypatch, BALL, hold_out=4)


def invoke(*arguments):
    app = typer.Typer()
    app.command()(export_command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def export(*arguments):
    result = invoke(*arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.stderr
    return result


def values_of(*arguments):
    return json.loads(export(*arguments, "--json", "-q").stdout)


def from_centre(mesh):
    return np.linalg.norm(mesh.vertices - CENTRE, axis=1) / RADIUS


def test_atlas_comes_from_the_photographs_and_is_judged_by_those_held_out(run_folder, tmp_path):
    values = values_of("a.glb", *SMALL)
    assert values["texture"]["baked_from"] == "photographs" and values["texture"]["seen"] > 0.9
    assert values["quality"]["view_set"] == "held out" and len(values["quality"]["views"]) == 3
    assert values["quality"]["colours"] == "texture"
    # The field's own colours are its normals: far from the photographs' pattern.
    by_field = values_of("b.glb", *SMALL, "--bake", "field", "--judge")
    assert by_field["texture"]["baked_from"] == "field" and by_field["texture"]["seen"] == 0
    assert values["quality"]["psnr_covered"] > by_field["quality"]["psnr_covered"] + 5
    assert read_mesh(tmp_path / "a.glb").texture.image.shape == (128, 128, 3)


def test_vertex_colours_come_from_the_photographs_on_request(run_folder, tmp_path):
    values = values_of("a.ply", *SMALL, "--bake", "photographs")
    assert values["texture"] == {"vertex_colours_from": "photographs"} and values["quality"]["colours"] == "vertices"
    by_field = values_of("b.ply", *SMALL, "--judge")
    assert by_field["texture"] == {"vertex_colours_from": "field"}
    assert values["quality"]["psnr_covered"] > by_field["quality"]["psnr_covered"] + 5


def test_nothing_is_judged_where_no_photograph_is_needed(run_folder, scene_folder):
    shutil.rmtree(scene_folder / "image")
    assert values_of("a.ply", *SMALL)["quality"] is None


def test_texture_none_leaves_colours_out(run_folder, tmp_path):
    values = values_of("a.glb", "b.ply", *SMALL, "--texture", "none")
    assert values["texture"] is None and values["quality"] is None
    for name in ("a.glb", "b.ply"):
        mesh = read_mesh(tmp_path / name)
        assert mesh.texture is None and mesh.colors is None


def test_formats_that_cannot_hold_an_atlas_get_less_and_a_note(run_folder, tmp_path):
    result = export("a.obj", "b.ply", "c.stl", *SMALL, "--texture", "atlas")
    assert "b.ply cannot hold --texture atlas: vertex instead" in result.stderr
    assert "c.stl cannot hold --texture atlas: none instead" in result.stderr
    assert read_mesh(tmp_path / "a.obj").texture is not None
    assert read_mesh(tmp_path / "b.ply").colors is not None
    assert (tmp_path / "a.mtl").is_file() and (tmp_path / "a.png").is_file()
    assert "a.mtl" in result.stdout and "a.png" in result.stdout


@pytest.mark.parametrize("faces", [2000, 500])
def test_simplified_meshes_stay_whole_and_on_the_surface(run_folder, tmp_path, faces):
    values = values_of("a.ply", "--resolution", "64", "--faces", faces)
    assert values["faces"] <= faces < values["simplified_from"]
    assert values["watertight"] and values["manifold"] and values["outward"]
    np.testing.assert_allclose(from_centre(read_mesh(tmp_path / "a.ply")), 1, atol=1e-4)


def test_error_bounds_the_simplification(run_folder, tmp_path):
    loose = values_of("a.ply", "--resolution", "64", "--error", "1%")
    tight = values_of("b.ply", "--resolution", "64", "--error", "0.1%")
    diagonal = np.sqrt(3) * 2 * RADIUS
    assert loose["simplification_error"] <= 0.01 * diagonal and tight["simplification_error"] <= 0.001 * diagonal
    assert loose["faces"] < tight["faces"] < tight["simplified_from"]


def test_atlas_simplifies_unasked_and_says_how_not_to(run_folder, monkeypatch):
    monkeypatch.setattr("dvr_cli.commands.export_request.ATLAS_FACES", 1000)
    result = export("a.glb", *SMALL)
    assert "--faces all keeps them all" in result.stderr
    assert values_of("a.glb", *SMALL)["faces"] <= 1000
    assert values_of("a.glb", *SMALL, "--faces", "all")["simplified_from"] is None


def test_base_cuts_the_ball_flat(run_folder, tmp_path):
    values = values_of("a.ply", "--resolution", "64", "--base", "20%", "--up", "z")
    assert values["watertight"] and values["manifold"]
    height = read_mesh(tmp_path / "a.ply").vertices[:, 2]
    assert height.min() == pytest.approx(CENTRE[2] - 0.6 * RADIUS, rel=1e-3, abs=1e-3 * RADIUS)
    # A ball without its lowest fifth: the cap of height h = 0.4 r has the volume pi h^2 (3 r - h) / 3.
    lost = np.pi * (0.4 * RADIUS) ** 2 * (3 * RADIUS - 0.4 * RADIUS) / 3
    assert values["volume"] == pytest.approx(4 / 3 * np.pi * RADIUS**3 - lost, rel=0.01)


def test_base_without_up_takes_it_from_the_cameras(run_folder):
    assert values_of("a.ply", "--resolution", "32", "--base", "20%")["watertight"]


def test_gltf_is_y_up_and_in_metres_when_the_scene_is_described(run_folder, tmp_path):
    export("a.ply", "b.glb", "--resolution", "48", "--texture", "vertex", "--faces", "all", "--center")
    result = export(
        *("a2.ply", "b2.glb", "--resolution", "48", "--texture", "vertex", "--faces", "all", "--center"),
        *("--up", "-z", "--units", "mm"),
    )
    assert "b2.glb: y up, metres" in result.stdout and "a2.ply: axes and units of the scene" in result.stdout
    plain, described = (trimesh.load_mesh(tmp_path / name, process=False).vertices for name in ("b.glb", "b2.glb"))
    turned = np.stack([plain[:, 0], -plain[:, 2], plain[:, 1]], axis=1) / 1000
    np.testing.assert_allclose(described, turned, atol=1e-6 * RADIUS)
    np.testing.assert_array_equal(*(read_mesh(tmp_path / name).vertices for name in ("a.ply", "a2.ply")))
    bounds = read_mesh(tmp_path / "a.ply").vertices
    np.testing.assert_allclose(bounds.min(axis=0) + bounds.max(axis=0), 0, atol=1e-5 * RADIUS)


def test_gltf_stands_as_the_cameras_were_held(run_folder, scene_folder, tmp_path):
    export("a.ply", "--resolution", "32")
    result = export("b.glb", "--resolution", "32", "--texture", "vertex", "--up", "cameras")
    assert "as the cameras were held" in result.stderr and "b.glb: y up" in result.stdout
    scene = read_described_scene(scene_folder, {"masks": True})
    up = up_direction([view.camera for view in scene.views])
    heights = read_mesh(tmp_path / "a.ply").vertices @ up
    turned = read_mesh(tmp_path / "b.glb").vertices[:, 1]
    np.testing.assert_allclose([turned.min(), turned.max()], [heights.min(), heights.max()], atol=1e-5 * RADIUS)


def test_texture_has_the_format_and_the_size_that_were_asked_for(run_folder, tmp_path):
    export("a.obj", *SMALL, "--texture-format", "jpeg", "--texture-limit", "3kB")
    assert (tmp_path / "a.jpg").stat().st_size <= 3000
    export("b.glb", *SMALL, "--texture-format", "webp")
    assert b"EXT_texture_webp" in (tmp_path / "b.glb").read_bytes()
    refused = invoke("c.obj", *SMALL, "--texture-format", "webp")
    assert refused.exit_code == 2 and "png or jpeg" in " ".join(refused.stderr.split())


def test_another_mesh_can_be_coloured(run_folder, tmp_path):
    ball = trimesh.creation.icosphere(4)
    write_mesh(Mesh(ball.vertices * RADIUS + CENTRE, np.asarray(ball.faces, dtype=np.int64)), tmp_path / "mine.ply")
    values = values_of("a.glb", *SMALL, "--mesh", "mine.ply")
    assert values["faces"] == len(ball.faces) and values["texture"]["seen"] > 0.9
    refused = invoke("a.glb", "--mesh", "mine.ply", "--base", "2%")
    assert refused.exit_code == 2 and "--base" in refused.stderr


def test_photographs_that_are_gone_leave_the_field(run_folder, scene_folder):
    shutil.rmtree(scene_folder)
    result = export("a.glb", *SMALL)
    assert "photographs cannot be read" in result.stderr
    assert values_of("a.glb", *SMALL)["texture"]["baked_from"] == "field"


def test_a_scene_that_has_moved_is_found_again(run_folder, scene_folder, tmp_path):
    scene_folder.rename(tmp_path / "elsewhere")
    values = values_of("a.glb", *SMALL, "--scene", tmp_path / "elsewhere")
    assert values["texture"]["baked_from"] == "photographs"
    with pytest.raises(SceneError):
        export("a.glb", *SMALL, "--scene", tmp_path / "nowhere")


def test_photographs_that_changed_since_the_run_are_named(run_folder, scene_folder):
    photograph = scene_folder / "image" / "003.png"
    Image.open(photograph).rotate(180).save(photograph)
    said = export("m.glb", *SMALL, "--no-judge").stderr
    assert "Since the run these changed: image/003.png. Colours are taken from what is there now" in said
    assert "Since the run" not in export("m.ply", *SMALL).stderr, "vertex colours come from the field"


def test_an_all_black_photograph_is_left_out(run_folder, scene_folder):
    path = sorted((scene_folder / "image").iterdir())[1]
    with Image.open(path) as image:
        size = image.size
    Image.new("RGB", size).save(path)
    result = export("a.glb", *SMALL)
    assert f"black or white throughout in it: {path.name}" in result.stderr


def test_a_full_disk_keeps_the_earlier_files(run_folder, tmp_path, monkeypatch):
    export("a.obj", *SMALL)
    before = {name: (tmp_path / name).read_bytes() for name in ("a.obj", "a.mtl", "a.png")}

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ExportError, match="no space left"):
        export("a.obj", *SMALL, "--bake", "field")
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert not [path for path in tmp_path.iterdir() if ".part" in path.name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.glb", "--faces", "10", "--error", "1%"), "both say how far"),
        (("a.stl", "--texture", "atlas"), "cannot hold"),
        (("a.glb", "--texture-size", "10"), "64"),
        (("a.glb", "--base", "60%"), "share"),
    ],
)
def test_misuse_is_told_before_any_work(run_folder, arguments, message):
    result = invoke(*arguments)
    assert result.exit_code == 2 and message in " ".join(result.stderr.split())


def test_photographs_are_reduced_only_when_they_would_fill_the_memory():
    assert affordable_size([(3000, 4000)] * 10) is None
    size = affordable_size([(3000, 4000)] * 100)
    assert size is not None and 13 * 100 * size * (size * 3 / 4) <= 3e9 < 13 * 100 * (size + 3) ** 2 * 3 / 4


def test_shares_of_work_become_steps_with_the_time_left():
    said, now = [], iter(np.arange(0, 100, 10.0))
    listen = shares(said.append, "baking", clock=lambda: next(now))
    for share in (0.0, 0.001, 0.25, 1.0):
        listen(share)
    assert [(report.step, report.seconds_left) for report in said] == [(0, None), (25, 30.0), (100, 0.0)]
