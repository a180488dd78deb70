"""Where compiled kernels go when the usual folder cannot be written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dvr_cli.kernels.cache import usable_cache


@pytest.fixture(autouse=True)
def own_places(monkeypatch, tmp_path):
    monkeypatch.setattr("warp.config.kernel_cache_dir", None)
    monkeypatch.delenv("WARP_CACHE_PATH", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_warp_chooses_where_it_can_write(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "not" / "yet" / "there"))
    assert usable_cache() is None
    assert not (tmp_path / "not").exists()


def test_a_home_that_is_none_costs_nothing_but_the_place(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/dev/null")
    place = Path(usable_cache())
    assert place.parent == tmp_path and place.stat().st_mode & 0o777 == 0o700
    assert usable_cache() == str(place), "what was compiled once is found again"


@pytest.mark.parametrize("trap", ["link", "open to all"])
def test_a_folder_that_others_may_have_written_to_is_not_used(monkeypatch, tmp_path, trap):
    monkeypatch.setenv("WARP_CACHE_PATH", "/dev/null/cache")
    place = tmp_path / f"dvr-kernels-{os.getuid()}"
    if trap == "link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "theirs")
    else:
        place.mkdir()
        place.chmod(0o777)
    other = Path(usable_cache())
    assert other != place and other.parent == tmp_path and not list(other.iterdir())


def test_the_kernels_start_without_a_home(tmp_path):
    environment = {**os.environ, "HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null/cache", "TMPDIR": str(tmp_path)}
    script = "import warp, dvr_cli.kernels.launch; print(warp.config.kernel_cache_dir)"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path))
