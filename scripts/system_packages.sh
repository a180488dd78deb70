#!/bin/sh
# Install the few system packages that the Python packages need on a bare Debian or Ubuntu: the shared libraries that
# Open3D's and torch's wheels load, and venv for the given Python. Without root, say in one line what to install.
set -eu
python=${1:-python3}
missing=""

need_library() { # soname, package
    PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | grep -q "$1 " || missing="$missing $2"
}

"$python" -c "import ensurepip, venv" 2>/dev/null || missing="$missing python3-venv"
need_library libEGL.so.1 libegl1
need_library libGL.so.1 libgl1
need_library libX11.so.6 libx11-6
need_library libusb-1.0.so.0 libusb-1.0-0
need_library libgomp.so.1 libgomp1

[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of words on purpose
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
else
    echo "Missing system packages; if the next steps fail: sudo apt-get install$missing" >&2
fi
