"""Starting Warp says nothing on stderr, with or without a GPU, and leaves stderr as it was."""

import os
import subprocess
import sys

SPEAKS_AFTERWARDS = """
import os, sys
import dvr_cli.kernels.launch
print("from Python", file=sys.stderr, flush=True)
os.write(2, b"from native code")
"""


def test_only_what_the_program_says_is_on_stderr():
    result = subprocess.run([sys.executable, "-c", SPEAKS_AFTERWARDS], capture_output=True, text=True, check=True)
    assert result.stdout == ""
    assert result.stderr == "from Python\nfrom native code"


def test_process_without_stderr_can_start():
    """As a service or a scheduled job may be."""
    code = "import dvr_cli.kernels.launch; print('started')"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, preexec_fn=lambda: os.close(2))
    assert result.stdout == "started\n"
