#!/bin/bash
# Everything that a machine with an NVIDIA GPU can show, in one call: builds, checks, times.
#
#   benchmarks/gpu_all.sh                              all parts
#   benchmarks/gpu_all.sh kernels memcheck:120         these parts, the second for 120 s at most
#
# | part | what runs | its limit in seconds |
# |---|---|---|
# | build | make build-gpu | 7200 |
# | kernels | every kernel against the CPU, graphs, errors of the device | 600 |
# | python | all Python tests with the GPU as the default device | 3600 |
# | memcheck | the tests of kernels under compute-sanitizer: accesses | 600 |
# | racecheck | those with threadgroup memory under compute-sanitizer: races | 600 |
# | times | benchmarks/gpu.py | 1200 |
# | workloads | python -m narrows.bench all --scale full --device gpu | 3600 |
#
# NARROWS_BUILD names another build tree than build/main, which the part "build" makes. PYTHON names
# another interpreter than .venv's, of the same version, which may have PyTorch and MLX: they run
# beside narrows. NARROWS_OUTPUT names another directory than build/gpu_all for the outputs.
#
# Ends with a summary, and with 1 if a part failed or took too long.

cd "$(dirname "$0")/.." || exit 1
BUILD=$(realpath -m "${NARROWS_BUILD:-build/main}")
OUTPUT=${NARROWS_OUTPUT:-build/gpu_all}
KERNEL_TESTS=$BUILD/tests/kernels/narrows_kernel_tests
[ -d .venv/bin ] && export PATH=$PWD/.venv/bin:$PATH
PYTHON=${PYTHON:-python3}
SANITIZER=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -1)
export PYTHONPATH=$BUILD/python${PYTHONPATH:+:$PYTHONPATH}
mkdir -p "$OUTPUT"

declare -A LIMITS=(
  [build]=7200 [kernels]=600 [python]=3600 [memcheck]=600 [racecheck]=600 [times]=1200
  [workloads]=3600)
ALL="build kernels python memcheck racecheck times workloads"

# Runs the tests of kernels under a tool. Texts of kernels are left to the interpreter: NVRTC under
# the tool would take most of the time.
sanitize() { # tool, filter
  [ -n "$SANITIZER" ] || { echo "there is no compute-sanitizer"; return 77; }
  NARROWS_TEST_GPU=1 NARROWS_KERNEL_COMPILER=0 "$SANITIZER" --tool "$1" --error-exitcode 9 \
    "$KERNEL_TESTS" --gtest_filter="$2"
}

run_part() { # as the table says
  case $1 in
    build) make build-gpu ;;
    kernels) NARROWS_TEST_GPU=1 "$KERNEL_TESTS" --gtest_brief=1 ;;
    python) "$PYTHON" -m pytest -q -p no:cacheprovider ;;
    memcheck) sanitize memcheck 'Orders/*Kernels.*' ;;
    racecheck) sanitize racecheck \
      'Orders/RowKernels.*:Orders/AttentionKernels.*:Orders/QuantizedKernels.*:Orders/GatedDeltaKernels.*:Orders/ProgramKernels.*' ;;
    times) "$PYTHON" benchmarks/gpu.py ;;
    workloads) "$PYTHON" -m narrows.bench all --scale full --device gpu --json "$OUTPUT/workloads.json" ;;
  esac
}
export -f run_part sanitize
export PYTHON SANITIZER KERNEL_TESTS OUTPUT

FAILED=0
SUMMARY=()
for part in ${*:-$ALL}; do
  name=${part%%:*}
  limit=${LIMITS[$name]}
  if [ -z "$limit" ]; then
    echo "there is no part $name, expected some of: $ALL" >&2
    exit 2
  fi
  [ "$part" = "$name" ] || limit=${part#*:}
  echo "== $name (at most $limit s)"
  begin=$SECONDS
  timeout -k 10 "$limit" bash -c "run_part $name" 2>&1 | tee "$OUTPUT/$name.txt"
  status=${PIPESTATUS[0]}
  case $status in
    0) result=passed ;;
    77) result="left out: $(tail -1 "$OUTPUT/$name.txt")" ;;
    124 | 137) result="took longer than $limit s" FAILED=1 ;;
    *) result="FAILED with status $status: $OUTPUT/$name.txt" FAILED=1 ;;
  esac
  SUMMARY+=("$(printf '%-10s %5d s  %s' "$name" $((SECONDS - begin)) "$result")")
done

echo
echo "== summary"
printf '%s\n' "${SUMMARY[@]}"
exit $FAILED
