"""The sphere in the IDR layout, written once and copied for each test that wants to damage it."""

import shutil

import pytest

from tests.scenes.tiny_scenes import write_sphere


@pytest.fixture(scope="session")
def sphere_template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template") / "ball"
    write_sphere(folder)
    return folder


@pytest.fixture
def folder(tmp_path, sphere_template):
    """A fresh copy of the sphere, in a folder of the name "ball"."""
    return shutil.copytree(sphere_template, tmp_path / "ball")
