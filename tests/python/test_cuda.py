"""NVIDIA GPUs whose memory is used up, whose libraries or driver are missing, damaged caches."""

import gc
import os
import shutil
import struct
import subprocess
import sys

import narrows.core as mx
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(
    not mx.cuda.is_available() or mx.default_device() != mx.gpu, reason="needs an NVIDIA GPU"
)

COMPILER = shutil.which(os.environ.get("CC", "cc"))

# Products, convolutions and fused steps of both devices, compared. The device is the default one.
WORK = """
import narrows.core as mx
import numpy as np

def compute(stream):
    with mx.stream(stream):
        rows = mx.sin(mx.arange(300 * 64, dtype=mx.float32)).reshape(300, 64)
        images = mx.cos(mx.arange(2 * 16 * 16 * 8, dtype=mx.float32)).reshape(2, 16, 16, 8)
        weight = mx.sin(mx.arange(4 * 3 * 3 * 8, dtype=mx.float32)).reshape(4, 3, 3, 8)
        mx.eval(rows, images, weight)
        results = []
        for _ in range(3):  # from the second time on, fused steps may have kernels of their own
            results = [
                rows @ rows.T,
                (rows.astype(mx.float16) @ rows.T.astype(mx.float16)).astype(mx.float32),
                mx.conv2d(images, weight, padding=1),
                mx.tanh(rows * 0.5) + mx.square(rows) - 1,
                mx.softmax(rows * 3 + 1, axis=-1),
            ]
            mx.eval(results)
            mx.synchronize()
        return [np.array(result) for result in results]

for actual, expected in zip(compute(mx.default_device()), compute(mx.cpu)):
    np.testing.assert_allclose(actual, expected, rtol=2e-3, atol=2e-2)
print(mx.default_device())
"""


def run(code, **variables):
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"NARROWS_ENABLE_TF32": "0"} | variables,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def memory_size():
    return mx.device_info(mx.gpu)["memory_size"]


def check_device():
    x = mx.arange(1 << 20, dtype=mx.float32)
    assert mx.sum(x * 0 + 1).item() == 1 << 20
    assert (x[:64].reshape(8, 8) @ mx.ones((8, 8)))[1, 0].item() == sum(range(8, 16))


def test_more_than_the_memory(memory):
    held = mx.ones((1024,))
    mx.eval(held)
    active = mx.get_active_memory()
    for asynchronous in (False, True):
        huge = mx.exp(mx.zeros((memory_size() // 4 + 1024,)) + held[0])
        for _ in range(2):
            with pytest.raises(MemoryError, match=r"\[.*\] cannot allocate"):
                if asynchronous:
                    mx.async_eval(huge)
                    mx.synchronize()
                mx.eval(huge)
            check_device()
        del huge
        gc.collect()
        assert mx.get_active_memory() == active
    assert held.tolist() == [1] * 1024


def test_memory_that_is_used_up(memory):
    size = memory_size() // 10
    active = mx.get_active_memory()
    pieces = []
    with pytest.raises(MemoryError):
        for i in range(11):
            piece = mx.full((size,), i, mx.uint8)
            mx.eval(piece)
            pieces.append(piece)
    del piece
    gc.collect()
    assert 6 <= len(pieces) <= 10
    assert mx.get_active_memory() - active >= size * len(pieces)
    # What is held is intact, and what fits runs.
    for i, piece in enumerate(pieces):
        assert piece[-1].item() == i and mx.max(piece[: 1 << 20]).item() == i
    check_device()
    with pytest.raises(MemoryError):
        mx.eval(pieces[0] + pieces[1], pieces[1] + pieces[2], pieces[2] + pieces[3])
    assert pieces[1][0].item() == 1
    half = len(pieces) // 2
    del pieces[half:], piece
    gc.collect()
    assert mx.sum(pieces[1][: 1 << 20] + pieces[2][: 1 << 20]).item() == 3 << 20
    total = pieces[1] + pieces[2]
    mx.eval(total)
    assert total[-1].item() == 3
    del total, pieces
    gc.collect()
    mx.clear_cache()
    assert mx.get_active_memory() == active
    assert mx.get_cache_memory() == 0


def test_strict_limits_have_room_for_workspace(memory):
    """A plan's peak has the workspace of libraries, so a strict limit of that peak suffices."""
    a = mx.random.normal((4096, 4096))
    images = mx.random.normal((8, 64, 64, 32)).astype(mx.float16)
    weight = mx.random.normal((32, 3, 3, 32)).astype(mx.float16)
    mx.eval(a, images, weight)
    for make in (
        lambda: mx.sum(mx.exp(a @ a * 1e-3) @ a),
        lambda: (a[:64] @ a).sum() + mx.sum(mx.conv2d(images, weight, padding=1)),
        lambda: mx.grad(lambda w: mx.sum(mx.square(mx.conv2d(images, w, padding=1))))(weight),
    ):
        expected = np.array(make().astype(mx.float32))
        outputs = make()
        peak = mx.plan(outputs).predicted_peak
        mx.clear_cache()
        mx.set_memory_limit(peak, strict=True)
        mx.reset_peak_memory()
        mx.eval(outputs)
        assert mx.get_peak_memory() == peak
        np.testing.assert_allclose(np.array(outputs.astype(mx.float32)), expected, rtol=1e-3)
        del outputs
        mx.set_memory_limit(1 << 50)


@pytest.mark.parametrize("name", ["CUBLASLT", "CUDNN", "NVRTC", "all"])
@pytest.mark.parametrize("named", ["none", "libm.so.6"])
def test_libraries_that_are_missing(name, named):
    """The kernels compute what a library would have computed, and fused steps are interpreted."""
    names = ["CUBLASLT", "CUDNN", "NVRTC"] if name == "all" else [name]
    out, _ = run(WORK, **{f"NARROWS_{each}_LIBRARY": named for each in names})
    assert "gpu" in out


def test_no_nccl():
    code = """
import narrows.core as mx
try:
    mx.distributed.init(strict=True, backend="nccl")
except RuntimeError as error:
    print(error)
"""
    out, _ = run(code, NARROWS_NCCL_LIBRARY="/no/libnccl.so")
    assert "[init] no NCCL library" in out


def test_no_device():
    out, _ = run(WORK, CUDA_VISIBLE_DEVICES="-1")
    assert "cpu" in out


DRIVER = """
int cuInit(unsigned flags) { return %d; }
int cuDriverGetVersion(int* version) { *version = %d; return 0; }
"""


@pytest.mark.skipif(not COMPILER, reason="no C compiler")
@pytest.mark.parametrize(
    "driver",
    [
        "",
        # A driver of CUDA 11, which has none of what CUDA 13 asks it for.
        DRIVER % (0, 11000),
        # One that finds no device.
        DRIVER % (100, 13000),
    ],
    ids=["no functions", "old", "no device"],
)
def test_drivers_that_cannot_be_used(driver, tmp_path):
    source = tmp_path / "driver.c"
    source.write_text(driver)
    library = tmp_path / "libcuda.so.1"
    subprocess.run([COMPILER, "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    path = f"{tmp_path}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    out, _ = run(WORK, LD_LIBRARY_PATH=path)
    assert "cpu" in out


def hash_of(content):
    """As kernel_cache.cpp computes it."""
    result = 0xCBF29CE484222325
    for byte in content:
        result = (result ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return result


def parts_of(content):
    """The content of a file: a head of four numbers, the key, the code."""
    magic, key_bytes, code_bytes, check = struct.unpack_from("<4Q", content)
    key, code = content[32 : 32 + key_bytes], content[32 + key_bytes :]
    assert len(code) == code_bytes and check == hash_of(key + code)
    return magic, key, code


def damage(content, how):
    magic, key, code = parts_of(content)
    if how == "empty":
        return b""
    if how == "cut":
        return content[: len(content) // 2]
    if how == "other code":
        return content[: -len(code)] + bytes(len(code))
    # What the checks of the file do not find: the driver has to.
    code = b"no code" + bytes(len(code) - 7)
    return struct.pack("<4Q", magic, len(key), len(code), hash_of(key + code)) + key + code


# Exits when the only kernel is in the only file, and the file is another than it was before.
ONE_KERNEL = """
import pathlib
import sys
import time
import narrows.core as mx
import numpy as np

def content(cache):
    paths = cache.iterdir() if cache.exists() else []
    return [path.read_bytes() for path in paths if "." not in path.name]

cache = pathlib.Path({cache!r})
before = content(cache)
x = mx.arange(4096, dtype=mx.float32) * 0.001
mx.eval(x)
begin = time.monotonic()
while True:
    y = mx.tanh(x) * x + mx.square(x)
    mx.eval(y)
    values = np.array(x)
    np.testing.assert_allclose(np.array(y), np.tanh(values) * values + values**2, rtol=1e-5)
    if {is_written} and content(cache) != before:
        break
    if not {is_written} and time.monotonic() - begin > 2:
        break
    if time.monotonic() - begin > 60:
        sys.exit("nothing is written")
    time.sleep(0.01)
"""


def test_damaged_kernel_files(tmp_path):
    cache = tmp_path / "kernels"
    variables = {"NARROWS_KERNEL_CACHE": str(cache), "NARROWS_KERNEL_COMPILER": "verbose"}
    _, log = run("import narrows.core as mx\nmx.eval(mx.exp(mx.ones(8)) + 1)", **variables)
    if "there is no compiler" in log:
        pytest.skip("NVRTC is not found")
    code = ONE_KERNEL.format(cache=str(cache), is_written=True)
    run(code, **variables)
    (path,) = cache.iterdir()
    intact = path.read_bytes()
    for how in ("empty", "cut", "other code", "no code"):
        path.write_bytes(damage(intact, how))
        run(code, **variables)
        assert [each.name for each in cache.iterdir()] == [path.name]
        assert parts_of(path.read_bytes())[1] == parts_of(intact)[1]
    intact = path.read_bytes()
    run(ONE_KERNEL.format(cache=str(cache), is_written=False), **variables)  # reads it
    assert path.read_bytes() == intact


def test_exit_while_kernels_are_compiled(tmp_path):
    """The compiler's objects and the driver are there until its threads have ended."""
    code = """
import threading
import narrows.core as mx

def compute():
    x = mx.arange(1 << 16, dtype=mx.float32)
    for i in range({count}):
        for _ in range(2):
            mx.eval(mx.tanh(x * 0.5) + sum((mx.sin(x) for _ in range(i)), mx.exp(-x)) * x)

if {threaded}:
    threading.Thread(target=compute).start()
else:
    compute()
"""
    for threaded in (False, True):
        for count in (1, 3, 12):
            cache = tmp_path / f"{threaded}{count}"
            run(code.format(count=count, threaded=threaded), NARROWS_KERNEL_CACHE=str(cache))


def test_children_say_that_they_cannot_use_the_gpu():
    code = """
import os
import narrows.core as mx
x = mx.ones((4,)) + 1
mx.eval(x)
child = os.fork()
if child == 0:
    try:
        mx.eval(mx.ones((4,)) * 3)
        os._exit(1)
    except RuntimeError as error:
        os._exit(0 if "fork" in str(error) else 2)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, status
assert x.tolist() == [2] * 4
"""
    run(code)
