"""Suites say which scenes are judged by what: defaults, placeholders, and mistakes that are named."""

from pathlib import Path

import pytest

from dvr_cli.comparing.suite import builtin_suites, read_suite
from dvr_cli.errors import ConfigError


def suite_file(folder, text):
    path = folder / "suite.toml"
    path.write_text(text)
    return str(path)


SCENES = """
title = "Two"
[defaults]
masks = true
hold_out = 8
[[scene]]
name = "vase"
path = "photos/vase"
[[scene]]
name = "statue"
path = "{scans}/statue"
reference = "{scans}/truth/{scans}.ply"
hold_out = 4
"""


def test_defaults_hold_unless_a_scene_says_otherwise(tmp_path):
    suite = read_suite(suite_file(tmp_path, SCENES), {"scans": Path("/scans")})
    vase, statue = suite.settled()
    assert (vase.masks, vase.hold_out, statue.masks, statue.hold_out) == (True, 8, True, 4)


def test_paths_start_at_the_file_and_placeholders_are_filled(tmp_path):
    suite = read_suite(suite_file(tmp_path, SCENES), {"scans": Path("/scans")})
    assert suite.scene[0].path == str(tmp_path / "photos/vase")
    assert (suite.scene[1].path, suite.scene[1].reference) == ("/scans/statue", "/scans/truth/scans.ply")


def test_missing_placeholder_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"where scans is\. Add: --data scans=FOLDER"):
        read_suite(suite_file(tmp_path, SCENES), {})
    with pytest.raises(ConfigError, match=r"where photos, scans are\. Add: --data photos=FOLDER --data scans=FOLDER"):
        read_suite(suite_file(tmp_path, SCENES.replace('"photos/vase"', '"{photos}/vase"')), {})


def test_placeholders_are_names_and_no_expressions(tmp_path):
    text = SCENES.replace("{scans}/statue", "{scans.__class__}/{scans:>999999999}")
    suite = read_suite(suite_file(tmp_path, text), {"scans": Path("/scans")})
    assert suite.scene[1].path == str(tmp_path / "{scans.__class__}/{scans:>999999999}")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('name = "vase"', 'name = "statue"'), "statue stands there more than once"),
        (('name = "vase"', 'name = "../vase"'), r"scene\[0\].*name of a folder"),
        (('path = "photos/vase"', ""), r"scene\[0\].*either path or synthetic"),
        (("masks = true", "mask = true"), "defaults.mask"),
        (("hold_out = 4", "hold_out = 1"), r"scene\[1\].hold_out"),
        (("[[scene]]", "[[scene"), "not valid TOML"),
        ((SCENES, 'title = "None"\nscene = []'), r"scene = \[\] .*: expected a list of groups with at least 1 item\."),
        (('title = "Two"', ""), "title is missing: expected a text"),
        (('name = "vase"', ""), r"scene\[0\].name is missing: expected a text with 1 to 60 characters"),
        (("masks = true", 'masks = "perhaps"'), "defaults.masks = 'perhaps' cannot be used: expected true or false"),
        (("hold_out = 8", 'protocol = "foo"'), "protocol = 'foo' cannot be used: expected one of plain, dtu, tanks"),
        (("hold_out = 8", "holdout = 8"), "unknown key 'defaults.holdout'. Did you mean 'defaults.hold_out'"),
        (("hold_out = 8", 'presets = "fast"'), "defaults.presets = 'fast' .*expected a list of texts"),
        (("hold_out = 8", 'presets = ["fast", "fats"]'), "there is no preset fats; there are fast, quality"),
    ],
)
def test_mistakes_are_named(tmp_path, change, words):
    with pytest.raises(ConfigError, match=words) as caught:
        read_suite(suite_file(tmp_path, SCENES.replace(*change)), {"scans": Path("/scans")})
    assert not any(phrase in str(caught.value) for phrase in ("Value error", "Field required", "Input should", "Tuple"))


def test_scene_with_a_mistake_is_not_called_missing_as_well(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read_suite(suite_file(tmp_path, 'title = "One"\n[[scene]]\nname = "vase"\npath = "vase"\nmasks = 3'), {})
    first, *rest = str(caught.value).splitlines()
    assert "scene[0].masks = 3" in first and rest == ["See docs/benchmarks.md for what a suite may say."]


def test_unknown_suite_lists_the_built_in_ones():
    with pytest.raises(ConfigError, match="dtu, synthetic"):
        read_suite("nonsense", {})


def test_built_in_suites_are_whole():
    assert builtin_suites() == ["dtu", "synthetic"]
    places = {"scenes": Path("/scenes"), "truth": Path("/truth")}
    dtu = read_suite("dtu", places).settled()
    assert len(dtu) == 15
    assert dtu[0].reference == "/truth/Points/stl/stl024_total.ply"
    assert all(scene.protocol == "dtu" and scene.masks and scene.obs_mask and scene.plane for scene in dtu)
    assert all(scene.synthetic is not None for scene in read_suite("synthetic", {}).settled())
