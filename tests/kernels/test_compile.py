"""Every kernel compiles for CUDA, without a GPU."""

import importlib.util
import sys
from pathlib import Path

import pytest

import dvr_cli.kernels

SCRIPT = Path(__file__).parents[2] / "scripts" / "compile_kernels.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("compile_kernels", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_file_with_a_kernel_is_found(script):
    files = Path(dvr_cli.kernels.__file__).parent.rglob("*.py")
    with_kernels = {file.stem for file in files if "\n@wp.kernel" in file.read_text()}
    assert {module.__name__.rpartition(".")[2] for module in script.kernel_modules()} == with_kernels
    assert {"march", "patches"} <= with_kernels


def test_kernels_compile_for_cuda(script, tmp_path, capsys):
    for module in script.kernel_modules():
        binaries = script.compile_module(module, tmp_path)
        assert [binary.name.rsplit(".")[-2] for binary in binaries] == ["sm80", "sm90"]
        for binary in binaries:
            # An ELF file for machine 190, CUDA.
            header = binary.read_bytes()[:20]
            assert header[:4] == b"\x7fELF"
            assert int.from_bytes(header[18:20], "little") == 190


def test_a_kernel_that_does_not_compile_fails_the_script(script, monkeypatch, capsys):
    def broken(module, folder, architectures):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(script, "compile_module", broken)
    assert script.main((80,)) == 1
    assert "FAILED  dvr_cli.kernels.march: no such instruction" in capsys.readouterr().out
    assert sys.modules["dvr_cli.kernels.march"]
