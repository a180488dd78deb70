"""The Khronos glTF validator, an npm package (gltf-validator), where there is one.

It is looked for in the folder of node modules that DVR_GLTF_VALIDATOR names, or else among npm's global packages.
"""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

SCRIPT = """
const validator = require(process.argv[1]);
validator.validateBytes(new Uint8Array(require('fs').readFileSync(process.argv[2])))
    .then((report) => console.log(JSON.stringify(report.issues)));
"""
SEVERITIES = ("error", "warning", "information", "hint")


@cache
def _validator() -> Path | None:
    if shutil.which("node") is None:
        return None
    modules = os.environ.get("DVR_GLTF_VALIDATOR")
    if modules is None and (npm := shutil.which("npm")):
        modules = subprocess.run([npm, "root", "-g"], capture_output=True, text=True, check=False).stdout.strip()
    package = Path(modules or "") / "gltf-validator"
    return package if package.is_dir() else None


def issues(file: Path, severities: tuple[str, ...] = ("error", "warning")) -> list[str]:
    """What the validator finds in a .glb or .gltf file; the test is skipped where there is no validator."""
    package = _validator()
    if package is None:
        pytest.skip("node with gltf-validator is not installed (or DVR_GLTF_VALIDATOR does not name its node_modules)")
    result = subprocess.run(
        ["node", "-e", SCRIPT, str(package), str(file)], capture_output=True, text=True, check=True, timeout=120
    )
    found = json.loads(result.stdout)
    assert not found["truncated"]
    return [
        f"{SEVERITIES[issue['severity']]} {issue['code']} at {issue.get('pointer')}: {issue['message']}"
        for issue in found["messages"]
        if SEVERITIES[issue["severity"]] in severities
    ]
