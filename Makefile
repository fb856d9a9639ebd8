# `make demo` and `make test` are the two main commands. They put what they need into .venv and
# build/. The machine needs only Python >= 3.10 with venv, g++ >= 12, git and make.

PYTHON ?= python3
JOBS := $(shell getconf _NPROCESSORS_ONLN)
VENV := .venv
BUILD := build/main
NARROWS_WERROR ?= $(if $(filter true 1,$(CI)),ON,OFF)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check check-msl format build install googletest cpp-test python-test bench docs \
        build-gpu test-gpu test-faults fuzz \
        asan tsan run-asan run-tsan arm64 run-arm64 clean
.DEFAULT_GOAL := build

# .venv/.requirements-X: the requirements of building, and those of the extra X, are installed.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
$(VENV)/.requirements-%: pyproject.toml tools/list_requirements.py | $(VENV)/bin/python
	python tools/list_requirements.py build $* > $@.txt
	python -m pip install --progress-bar off --quiet -r $@.txt
	mv $@.txt $@

# Builds the wheel in the one build tree (no file is compiled twice), and installs it into .venv.
PIP_INSTALL = python -m pip install --progress-bar off --no-build-isolation --no-deps \
	--force-reinstall --config-settings=build-dir=$(BUILD) \
	--config-settings=cmake.define.NARROWS_WERROR=$(NARROWS_WERROR)

build: install
install: $(VENV)/.requirements-test
	$(PIP_INSTALL) .

demo: $(VENV)/.requirements-demo
	$(PIP_INSTALL) .
	python -m narrows.bench all --rounds 2 --plot build/bench.png --json build/bench.json
	python examples/memory_and_budget.py --page build/plan.html

# The site, from docs/ and the docstrings: build/docs/index.html.
docs: $(VENV)/.requirements-docs
	$(PIP_INSTALL) .
	python -m sphinx --fail-on-warning --keep-going -q docs build/docs
	@echo "site: build/docs/index.html"

test: check googletest $(VENV)/.requirements-test $(VENV)/.requirements-mlx-lm
	$(PIP_INSTALL) --config-settings=cmake.define.NARROWS_BUILD_TESTS=ON .
	$(MAKE) --no-print-directory cpp-test
	$(MAKE) --no-print-directory python-test

cpp-test:
	ctest --test-dir $(BUILD) -j $(JOBS) --output-on-failure --no-tests=error
# Again, where it matters, with a GPU that has memory of its own: arrays are transferred.
ON_SEPARATE_GPU := NARROWS_EMULATED_GPU=1 NARROWS_EMULATED_GPU_MEMORY=separate \
	NARROWS_TEST_DEVICE=gpu
# All tests of a file run in one process.
PYTEST_ON_ALL := python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
python-test:
	$(PYTEST_ON_ALL)
	$(ON_SEPARATE_GPU) $(PYTEST_ON_ALL) $(addprefix tests/python/test_, \
	  array.py convert.py foreign_dlpack.py evaluate.py indexing.py memory.py offload.py plan.py \
	  printing.py recompute.py)

# GoogleTest is the system's package if that may be installed here; else CMake fetches it.
googletest:
	@if [ ! -e /usr/include/gtest/gtest.h ] && [ "$$(id -u)" = 0 ] && command -v apt-get; then \
	  apt-get update -qq && apt-get install -qq -y libgtest-dev || true; \
	fi

FIND_FORMATTED = find cpp metal_kernels python tests benchmarks -name '*.h' -o -name '*.cpp'

check: $(VENV)/.requirements-check
	$(FIND_FORMATTED) | xargs clang-format --dry-run --Werror
	ruff check
	ruff format --check
	python tools/check_layers.py
	python tools/check_file_sizes.py
	$(CHECK_MSL)

# On a machine with an NVIDIA GPU and CUDA 13: every kernel against the CPU, graphs, and the Python
# tests with the GPU as the default device. NARROWS_CUBLAS_INCLUDE names the directory of cublasLt.h
# if the toolkit has none.
NARROWS_CUBLAS_INCLUDE ?=
build-gpu: googletest $(VENV)/.requirements-test
	$(PIP_INSTALL) --config-settings=cmake.define.NARROWS_CUDA=ON \
	  --config-settings=cmake.define.NARROWS_CUBLAS_INCLUDE=$(NARROWS_CUBLAS_INCLUDE) \
	  --config-settings=cmake.define.NARROWS_BUILD_TESTS=ON .

test-gpu: build-gpu
	benchmarks/gpu_all.sh kernels python

# Checks the kernels' Metal Shading Language, as far as clang 19 can.
CHECK_MSL = python tools/msl_check/check.py metal_kernels/*.metal
check-msl: $(VENV)/.requirements-check
	$(CHECK_MSL)

format: $(VENV)/.requirements-check
	$(FIND_FORMATTED) | xargs clang-format -i
	ruff check --fix
	ruff format

# All tests while every 3rd, 7th, ... allocation fails, and many random graphs.
test-faults: install
	$(PIP_INSTALL) --config-settings=cmake.define.NARROWS_BUILD_TESTS=ON .
	python tools/run_with_faults.py $(BUILD)
	NARROWS_FAULT_SEEDS=60 python -m pytest tests/python/test_faults.py

# Damaged files, a minute of each format, and random calls of all functions.
fuzz: install
	python tools/fuzz_files.py
	python tools/fuzz_calls.py
	python tools/fuzz_budgets.py

# The tests under sanitizers; CONTRIBUTING.md says what is left out and why.
asan: SANITIZER := address,undefined
asan: SANITIZED_TARGETS := narrows_tests narrows_kernel_tests narrows_python
tsan: SANITIZER := thread
tsan: SANITIZED_TARGETS := narrows_tests
asan tsan: googletest $(VENV)/.requirements-test
	cmake -S . -B build/$@ -G Ninja -DCMAKE_BUILD_TYPE=Release -DNARROWS_SANITIZE=$(SANITIZER) \
	  -DNARROWS_BUILD_TESTS=ON -DNARROWS_BUILD_PYTHON=$(if $(filter asan,$@),ON,OFF)
	cmake --build build/$@ --target $(SANITIZED_TARGETS)
	$(MAKE) --no-print-directory run-$@

# Only the kernels of x86-64-v2 are watched. Leaks are checked in the C++ tests only, because Python
# itself leaves some.
ASAN_TESTS = convert convert_lists custom_function derivatives compile evaluate faults file_access \
	files files_fuzz foreign \
	foreign_dlpack foreign_fuzz fusion memory pending profile vmap
ASAN_ENVIRONMENT = NARROWS_CPU_ISA=v2 UBSAN_OPTIONS=print_stacktrace=1
run-asan:
	$(ASAN_ENVIRONMENT) build/asan/tests/cpp/narrows_tests
	$(ASAN_ENVIRONMENT) build/asan/tests/kernels/narrows_kernel_tests
	$(ASAN_ENVIRONMENT) ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=build/asan/python \
	  LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	  python -m pytest -p no:cacheprovider -k "not soak" $(ASAN_TESTS:%=tests/python/test_%.py)

# ThreadSanitizer does not see how OpenMP's threads wait for each other. So one thread computes, and
# streams, workers and events are tested.
TSAN_TESTS = Evaluate.*:AllocatorTest.*:Pending.*:ProfileTest.*:Transforms.*:Fusion*:PlanTest.*:Random.*:Stream.*:OriginTest.*:Wait*:Parallel.*
run-tsan:
	NARROWS_NUM_THREADS=1 OMP_NUM_THREADS=1 build/tsan/tests/cpp/narrows_tests \
	  --gtest_filter='$(TSAN_TESTS):-*Fork*'

# The core library for arm64, and tests of its kernels on emulated processors: one with products of
# small matrices of bytes, one with dot products, and one with neither. On an x86-64 machine with
# g++-aarch64-linux-gnu and qemu-user, and the sources of GoogleTest (libgtest-dev).
arm64: googletest $(VENV)/.requirements-test
	mkdir -p build/arm64-libraries
	python tools/list_requirements.py build | grep openblas > build/arm64-requirements.txt
	python -m pip download --quiet --no-deps --only-binary :all: --platform manylinux_2_28_aarch64 \
	  --dest build/arm64-libraries --requirement build/arm64-requirements.txt
	cd build/arm64-libraries && python -m zipfile -e *openblas*.whl .
	cmake -S . -B build/arm64 -G Ninja -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
	  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
	  -DCMAKE_CROSSCOMPILING_EMULATOR="qemu-aarch64;-L;/usr/aarch64-linux-gnu" \
	  -DCMAKE_DISABLE_FIND_PACKAGE_GTest=ON \
	  -DFETCHCONTENT_SOURCE_DIR_GOOGLETEST=/usr/src/googletest \
	  -DNARROWS_OPENBLAS_ROOT=$(CURDIR)/build/arm64-libraries \
	  -DNARROWS_BUILD_TESTS=ON -DNARROWS_EMULATED_GPU=OFF
	cmake --build build/arm64 --target narrows_tests
	$(MAKE) --no-print-directory run-arm64

ARM64_TESTS = QuantizedTiles.*
run-arm64:
	for processor in max neoverse-n1 cortex-a72; do \
	  qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu $$processor \
	    build/arm64/tests/cpp/narrows_tests --gtest_filter='$(ARM64_TESTS)' || exit 1; \
	done

# All benchmarks; peers (torch, numpy, mlx) that are installed run beside narrows.
bench: $(VENV)/.requirements-demo
	$(PIP_INSTALL) --config-settings=cmake.define.NARROWS_BUILD_BENCHMARKS=ON .
	$(BUILD)/benchmarks/cpp/planning
	$(BUILD)/benchmarks/cpp/recording
	python benchmarks/latency.py
	python benchmarks/ops.py
	python benchmarks/fusion.py
	python benchmarks/cast.py

clean:
	rm -rf build $(VENV)
