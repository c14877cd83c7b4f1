#!/bin/sh
# Other people's software that tests converse with, each in an environment of its own under the folder given
# (peers.sh FOLDER NAME...): its pins and ours would not fit together, and it needs Python 3.12.
#
# Where there is no such Python, or nothing can be fetched, this says so, and the tests that need a peer skip.
set -eu
folder=$1
shift
lists=$(dirname "$0")/peers

python=""
for candidate in "${PEER_PYTHON:-}" python3.12 python3.13 python3.14 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-4].*/bin/python; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "No Python 3.12 or later: tests with other people's software will skip (PEER_PYTHON=... names one)" >&2
    exit 0
fi

for name in "$@"; do
    rm -rf "${folder:?}/$name"
    "$python" -m venv "$folder/$name"
    if ! "$folder/$name/bin/python" -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes \
        -r "$lists/$name.txt"; then
        rm -rf "${folder:?}/$name"
        echo "Could not install $name. Tests that need it will skip." >&2
    fi
done
