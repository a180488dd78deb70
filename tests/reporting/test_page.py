"""Laws of the page: it needs nothing from elsewhere, hostile names stay text, and it can be read without seeing it."""

import base64
import hashlib
import json
import re
from importlib import resources

import pytest

from dvr_cli.comparing.comparison import Comparison
from dvr_cli.errors import CompareError
from dvr_cli.reporting.report import write_report
from tests.reporting.html_facts import PageFacts
from tests.reporting.tiny_comparison import tiny_comparison

HOSTILE = "</script><script>alert('x')</script> & <b \"quoted\">"


@pytest.fixture(scope="module")
def text(written):
    return (written / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def facts(text):
    return PageFacts(text)


def test_nothing_comes_from_elsewhere(text, facts):
    for tag, attributes in facts.elements:
        for name in ("src", "href", "data", "srcset", "action", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), f"<{tag} {name}={value[:60]}>"
    assert not facts.all("link") and not facts.all("iframe")
    for style in facts.text_in("style"):
        assert "url(" not in style and "@import" not in style
    for script in facts.text_in("script"):
        assert not re.search(r"\bfetch\(|XMLHttpRequest|import\(|WebSocket|https?:", script)


def test_policy_allows_these_scripts_and_no_others(facts):
    policy = next(meta["content"] for meta in facts.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy
    scripts = [attributes for attributes in facts.all("script") if attributes.get("type") != "application/json"]
    sources = [source for source in facts.text_in("script") if not source.startswith("{")]
    assert len(scripts) == len(sources) == 2
    for source in sources:
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]


def test_elements_are_closed_and_identifiers_are_unique(facts):
    assert not facts.unbalanced and not facts.open
    identifiers = [attributes["id"] for _, attributes in facts.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    targets = [attributes["href"][1:] for attributes in facts.all("a")]
    assert targets and set(targets) <= set(identifiers)


def test_page_can_be_read_without_seeing_it(facts):
    assert len(facts.all("h1")) == 1 and facts.all("html")[0]["lang"] == "en"
    pictures = facts.all("img")
    assert pictures and all(picture.get("alt") for picture in pictures)
    assert len({picture["alt"] for picture in pictures}) == len(pictures)
    headers = facts.all("th")
    assert headers and all(header.get("scope") in ("row", "col", "colgroup") for header in headers)
    assert len(facts.all("caption")) == len(facts.all("table"))
    for drawing in [attributes for attributes in facts.all("svg") if attributes.get("class") == "curve"]:
        assert drawing["role"] == "img" and drawing["aria-labelledby"]


def test_every_mesh_stands_in_every_table_and_in_the_view(facts, comparison, text):
    names = [column.name for column in comparison.columns]
    tables = len(facts.all("table"))
    cells = [name.strip() for name in facts.text_in("th")]
    for name in names:
        assert cells.count(name) == tables
    data = json.loads(re.search(r'id="viewer-data">(.*?)</script>', text, flags=re.DOTALL)[1])
    assert [mesh["name"] for mesh in data["meshes"]] == [*names, "reference"]
    assert "It is not installed." in text and "Half of it was cut away." in text


def test_hostile_names_stay_text(tmp_path):
    comparison = tiny_comparison(names=(HOSTILE, "a", "b\u2028", "{{ 7*7 }}"), views=2)
    scene = type(comparison.scene)(**{**vars(comparison.scene), "name": HOSTILE})
    missing = ((HOSTILE, HOSTILE),)
    hostile = Comparison(**{**vars(comparison), "scene": scene, "missing": missing, "settings": {HOSTILE: HOSTILE}})
    page = write_report(hostile, tmp_path, command_line=HOSTILE, title=HOSTILE, picture_size=64)
    text = page.read_text(encoding="utf-8")
    facts = PageFacts(text)
    assert "alert('x')</script>" not in text and "<b " not in text
    assert len(facts.all("script")) == 3
    assert not facts.unbalanced and "{{ 7*7 }}" in text
    data = json.loads(re.search(r'id="viewer-data">(.*?)</script>', text, flags=re.DOTALL)[1])
    assert data["meshes"][0]["name"] == HOSTILE


def test_templates_are_part_of_the_package():
    folder = resources.files("dvr_cli.reporting").joinpath("templates")
    names = {entry.name for entry in folder.iterdir()}
    assert {"base.html.j2", "macros.html.j2", "report.html.j2", "suite.html.j2"} <= names
    assert {"style.css", "page.js", "viewer.js"} <= names
    for script in ("page.js", "viewer.js", "style.css"):
        # A closing tag within would end the element that the file stands in.
        assert "</" not in folder.joinpath(script).read_text(encoding="utf-8")


def test_report_needs_a_mesh_and_names_that_differ(tmp_path, comparison):
    with pytest.raises(CompareError, match=r"no mesh to report on\. openmvs: It is not installed"):
        write_report(Comparison(**{**vars(comparison), "columns": ()}), tmp_path)
    with pytest.raises(CompareError, match="'ours'"):
        write_report(Comparison(**{**vars(comparison), "columns": comparison.columns[:1] * 2}), tmp_path)
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_written(tmp_path, comparison):
    (tmp_path / "file").write_text("")
    small = Comparison(**{**vars(comparison), "columns": comparison.columns[:1]})
    with pytest.raises(CompareError, match="--out"):
        write_report(small, tmp_path / "file", picture_views=0)


def test_scene_without_photographs_or_reference(tmp_path):
    bare = tiny_comparison(with_reference=False, views=0)
    facts = PageFacts(write_report(bare, tmp_path).read_text(encoding="utf-8"))
    assert not facts.all("img") and not facts.unbalanced
    assert any("no reference" in text for text in facts.text_in("p"))


def test_only_finished_files_are_left(written):
    assert sorted(path.name for path in written.iterdir()) == ["report.html", "report.json"]


def test_scene_is_drawn_and_judged(text, facts):
    images = [image for image in facts.all("img") if "Cameras, region of interest" in image.get("alt", "")]
    assert len(images) == 1 and images[0]["src"].startswith("data:image/webp;base64,")
    assert 'id="scene"' in text and re.search(r"<p>(Cameras, masks and bounds agree|A reconstruction would)", text)
