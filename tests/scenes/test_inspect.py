"""`dvr inspect` says what is in the folder, as a table and as JSON, and what to do next."""

import json

import numpy as np
import pytest
import typer
from PIL import Image

from dvr_cli.commands.inspect import inspect_command
from dvr_cli.errors import SceneError
from dvr_cli.scenes.sparse_depth import write_sparse_depth
from dvr_cli.scenes.views import SparseDepth
from tests.scenes.tiny_scenes import RADIUS, ring, world_from_unit, write_colmap


def test_json_holds_what_is_in_the_folder(folder, capsys):
    write_sparse_depth(folder / "sparse.npz", SparseDepth(world_from_unit()[None, :3, 3], error=np.array([0.5])))
    inspect_command(folder, masks="found", depth=str(folder / "sparse.npz"), as_json=True)
    values = json.loads(capsys.readouterr().out)
    assert [view["name"] for view in values["views"]] == [f"{index:06d}.png" for index in range(12)]
    camera = ring()[0]
    first = values["views"][0]
    assert (first["width"], first["height"]) == (camera.width, camera.height)
    np.testing.assert_allclose(first["focal_length"], [camera.intrinsics[0, 0], camera.intrinsics[1, 1]])
    assert first["mask"] and first["hull_iou"] > 0.9 and first["sees_object"] and not first["undistorted"]
    np.testing.assert_allclose(values["bounds"]["centre"], world_from_unit()[:3, 3])
    assert values["bounds"]["radius"] == pytest.approx(np.linalg.norm(world_from_unit()[:3, 0]))
    assert values["points"] == {"count": 1, "in_bounds": 1, "observations": None, "median_error": 0.5}
    assert values["hull_volume"] > RADIUS**3
    assert values["next"].startswith("dvr reconstruct") and "--masks" in values["next"] and "--depth" in values["next"]


def test_table_ends_with_what_to_do_next(folder, capsys):
    inspect_command(folder)
    out, err = capsys.readouterr()
    assert "hull IoU" in out and "64x48" in out and "Cameras, masks and bounds agree." in out
    assert out.strip().splitlines()[-1] == f"Next: dvr reconstruct {folder}"
    assert "12 photographs" in err
    inspect_command(folder, quiet=True)
    assert capsys.readouterr().err == ""


def test_missing_masks_are_shown(folder, capsys):
    (folder / "mask" / "000003.png").unlink()
    inspect_command(folder)
    out = capsys.readouterr().out
    assert "1 of 12 views have no mask: 000003.png" in out and "--masks" not in out.splitlines()[-1]
    for path in (folder / "mask").iterdir():
        path.unlink()
    with pytest.raises(SceneError, match="no mask for any of 12"):
        inspect_command(folder, masks="found")


def test_scene_without_masks_and_names_with_brackets(tmp_path, capsys):
    write_colmap(tmp_path, ring()[:3], names=["[red]a.png", "[/b].png", "c.png"])
    inspect_command(tmp_path)
    out = capsys.readouterr().out
    assert "no masks" in out and "a guess from where" in out


def test_damaged_photograph_is_found(folder, capsys):
    path = folder / "image" / "000008.png"
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(typer.Exit) as stopped:
        inspect_command(folder, quiet=True)
    assert stopped.value.exit_code == 1
    out = capsys.readouterr().out
    assert "[unreadable-photograph]" in out and "000008.png cannot be decoded" in out
    assert out.strip().splitlines()[-1] == f"Next: correct that, then dvr inspect {folder}"


def test_an_empty_mask_is_found(folder, capsys):
    """It empties the hull, of which then no part is anybody's."""
    path = sorted((folder / "mask").iterdir())[0]
    with Image.open(path) as mask:
        black = Image.new("L", mask.size)
    black.save(path)
    with pytest.raises(typer.Exit) as ended:
        inspect_command(folder)
    said = capsys.readouterr().out
    assert path.name in said
    assert "A reconstruction would fail" in said
    assert ended.value.exit_code == 1
