"""A report that several tests look at, written once."""

import pytest

from dvr_cli.reporting.report import write_report
from tests.reporting.tiny_comparison import tiny_comparison


@pytest.fixture(scope="session")
def comparison():
    return tiny_comparison()


@pytest.fixture(scope="session")
def written(comparison, tmp_path_factory):
    """The folder of a written report."""
    return write_report(
        comparison, tmp_path_factory.mktemp("report"), command_line="dvr compare a b", picture_size=96
    ).parent
