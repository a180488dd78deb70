"""Options of `dvr export`: how they are read, what each format gets when nothing is said, and what contradicts."""

from pathlib import Path

import pytest
import typer

from dvr_cli.commands.export_request import (
    ATLAS_FACES,
    ExportRequest,
    Length,
    parse_bytes,
    parse_faces,
    parse_length,
    parse_share,
)
from dvr_cli.surfaces.export import FORMATS


def request(*names, texture=None, faces=None, error=None):
    return ExportRequest(tuple(Path(name) for name in names), texture, faces, error)


@pytest.mark.parametrize(
    ("text", "faces"), [("50000", 50_000), ("50k", 50_000), ("1.5M", 1_500_000), ("0.25K", 250), ("all", "all")]
)
def test_faces(text, faces):
    assert parse_faces(text) == faces


@pytest.mark.parametrize("text", ["", "0", "3", "-5", "1e5", "50kk", "many", "nan", "9" * 40])
def test_what_is_no_number_of_faces(text):
    with pytest.raises(typer.BadParameter, match="number of faces"):
        parse_faces(text)


def test_lengths_are_shares_of_the_diagonal_or_scene_units():
    assert parse_length("0.02%").of(500.0) == pytest.approx(0.1)
    assert parse_length("0.5").of(500.0) == 0.5
    assert parse_length("1e-3") == Length(1e-3, relative=False)


@pytest.mark.parametrize("text", ["", "0", "0%", "-1", "101%", "inf", "nan", "1 mm", "%"])
def test_what_is_no_length(text):
    with pytest.raises(typer.BadParameter, match="length"):
        parse_length(text)


def test_shares():
    assert parse_share("2.5%") == pytest.approx(0.025)
    for text in ("2", "0%", "50%", "-1%", "x%"):
        with pytest.raises(typer.BadParameter, match="share"):
            parse_share(text)


def test_sizes_of_files():
    assert [parse_bytes(text) for text in ("8MB", "500kb", "1.5 GB", "2000")] == [8e6, 5e5, 1.5e9, 2000]
    for text in ("", "10", "8 TB", "-1MB", "MB"):
        with pytest.raises(typer.BadParameter, match="size"):
            parse_bytes(text)


def test_every_format_has_a_way_of_colouring():
    for suffix in FORMATS:
        assert request(f"a{suffix}").kind_of(Path(f"a{suffix.upper()}")) in ("none", "vertex", "atlas")
    assert [request("x.ply").kind_of(Path(name)) for name in ("a.ply", "a.glb", "a.obj", "a.stl")] == [
        "vertex", "atlas", "atlas", "none"
    ]  # fmt: skip


def test_formats_get_the_best_that_they_hold():
    asked = request("a.glb", "b.ply", "c.stl", texture="atlas")
    asked.check()
    assert [asked.kind_of(path) for path in asked.files] == ["atlas", "vertex", "none"]
    assert asked.lesser == [Path("b.ply"), Path("c.stl")]
    assert request("a.glb", texture="none").kinds == {"none"}


def test_only_an_atlas_simplifies_unasked():
    assert request("a.glb").target_faces == ATLAS_FACES
    assert request("a.ply").target_faces is None
    assert request("a.glb", faces="all").target_faces is None
    assert request("a.glb", faces=7).target_faces == 7
    assert request("a.glb", error=Length(0.1, True)).target_faces is None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (request("a.ply", "b.stl", texture="atlas"), "cannot hold"),
        (request("a.stl", texture="vertex"), "cannot hold"),
        (request("a.glb", faces=100, error=Length(0.1, True)), "one of them"),
    ],
)
def test_contradictions(asked, message):
    with pytest.raises(typer.BadParameter, match=message):
        asked.check()
