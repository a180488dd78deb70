"""A good scene, written once and copied for each test that wants to break it."""

import shutil

import pytest

from tests.diagnosis.good_scene import write_good_scene


@pytest.fixture(scope="session")
def good_template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template") / "good"
    write_good_scene(folder)
    return folder


@pytest.fixture
def folder(tmp_path, good_template):
    """A fresh copy of the good scene, in a folder of the name "good"."""
    return shutil.copytree(good_template, tmp_path / "good")
