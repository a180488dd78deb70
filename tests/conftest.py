"""Shared set-up of the tests: shapes in annotations are checked at run time, and the number of threads is fixed.

The import hook must be installed before the first module of the package is imported, hence at the top of this file.
"""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")

from checked_types import check_types
from one_core_each import take_one_core

take_one_core(os.environ.get("PYTEST_XDIST_WORKER"))
check_types("dvr_cli")

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with real scenes, named by the environment variable DVR_TEST_DATA; the test is skipped without it."""
    named = os.environ.get("DVR_TEST_DATA")
    if not named:
        pytest.skip("DVR_TEST_DATA does not name a folder with real scenes")
    folder = Path(named)
    if not folder.is_dir():
        pytest.skip(f"DVR_TEST_DATA names {folder}, which is not a folder")
    return folder
