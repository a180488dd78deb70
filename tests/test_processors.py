"""The number of threads: cores, and in a container what its share of their time fills."""

import os

import pytest

from dvr_cli import processors
from dvr_cli.kernels import launch

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def written(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def system(tmp_path, monkeypatch):
    monkeypatch.setattr(processors, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(processors, "MEMBERSHIP", tmp_path / "membership")
    return tmp_path


def quotas():
    return sorted(processors.quotas(processors.GROUPS, processors.MEMBERSHIP))


def test_a_container(system):
    written(system, membership="0::/\n")
    (system / "groups").mkdir()
    (system / "groups" / "cpu.max").write_text("150000 100000\n")
    assert quotas() == [1.5]
    assert processors.available_threads() == min(CORES, 2)


def test_a_group_and_those_around_it(system):
    written(system, membership="0::/user.slice/job\n")
    for place, text in (("user.slice/job", "max 100000"), ("user.slice", "400000 100000"), (".", "max 100000")):
        folder = system / "groups" / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text(text)
    assert quotas() == [4.0]


@pytest.mark.parametrize("place", ["docker/abc", "."], ids=["the group", "the root"])
def test_the_first_version(system, place):
    written(system, membership="5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n")
    folder = system / "groups" / "cpu" / place
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("50000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert quotas() == [0.5]
    assert processors.available_threads() == 1


def test_no_limit(system):
    written(system, membership="4:cpu:/\n0::/\nnonsense\n")
    folder = system / "groups" / "cpu"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("-1\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    (system / "groups" / "cpu.max").write_text("max 100000\n")
    assert quotas() == []
    assert processors.available_threads() == CORES


def test_another_system(system):
    assert quotas() == []
    assert processors.available_threads() == CORES


def test_kernels_use_them_when_no_number_is_named(system):
    written(system, membership="0::/\n")
    (system / "groups").mkdir()
    (system / "groups" / "cpu.max").write_text("100000 100000\n")
    try:
        assert launch.set_threads(None) == 1
    finally:
        launch.set_threads(1)
