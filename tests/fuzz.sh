#!/usr/bin/env bash
# Runs fuzz targets beside each other: tests/fuzz.sh FOLDER_OF_TARGETS SECONDS TARGET...   (model_file voice_model
# text voice_file audio onnx). Each starts from its seeds and dictionary in tests/fuzz and from what earlier runs found in
# FOLDER_OF_TARGETS/corpus. A finding ends it with its input beside the logs, and this script with status 1. FUZZ_SEED:
# the same inputs each time; without it, others.
set -euo pipefail
cd "$(dirname "$0")/.."
targets=$1 seconds=$2
shift 2

arguments() {
  case $1 in
    model_file) echo "-max_len=20000 tests/golden" ;;
    text) echo "-max_len=2000" ;;
    voice_file) echo "-max_len=2100" ;;
    audio) echo "-max_len=3000" ;;
    voice_model) echo "-max_len=41 -len_control=0" ;;
    onnx) echo "-max_len=3000" ;;
    *) echo "there is no fuzz target '$1'" >&2 && exit 2 ;;
  esac
}

declare -A running
for name in "$@"; do
  more=$(arguments "$name")
  corpus=$targets/corpus/$name
  mkdir -p "$corpus"
  run=("$targets/fuzz_$name")
  [ "$name" = onnx ] && run=(python tests/tools/fuzz_onnx.py)
  common=(-seed="${FUZZ_SEED:-0}" -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=60 -print_final_stats=1
    -artifact_prefix="$targets/finding-$name-")
  [ -f "tests/fuzz/$name.dict" ] && common+=(-dict="tests/fuzz/$name.dict")
  # shellcheck disable=SC2086
  "${run[@]}" "${common[@]}" "$corpus" $more $([ -d "tests/fuzz/$name" ] && echo "tests/fuzz/$name") \
    >"$targets/$name.log" 2>&1 &
  running[$name]=$!
done

status=0
for name in "$@"; do
  if wait "${running[$name]}"; then
    echo "$name: $(grep -ao 'number_of_executed_units: [0-9]*' "$targets/$name.log" || echo "no statistics")"
  else
    status=1
    echo "$name: a finding"
    tail -n 60 "$targets/$name.log"
  fi
done
exit "$status"
