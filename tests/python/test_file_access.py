"""When files are read and written: lazily, in little memory, at once or not at all."""

import contextlib
import io
import json
import os
import resource
import signal
import stat
import struct

import file_cases
import narrows.core as mx
import numpy as np
import pytest
from file_cases import FORMATS


def sparse_safetensors(path, count, shape):
    """A file of zeros, which takes no space, with `count` float32 arrays."""
    size = int(np.prod(shape)) * 4
    header = {
        f"w{i}": file_cases.entry(shape=shape, offsets=(i * size, (i + 1) * size))
        for i in range(count)
    }
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + count * size)
    return size


def test_a_plan_reads_step_by_step(tmp_path, memory, on_cpu, every_node_is_a_step):
    """int8 copies of 32 arrays: besides these there are two arrays at a time, not 32."""
    count, shape = 32, (1024, 1024)
    size = sparse_safetensors(tmp_path / "a.safetensors", count, shape)
    before = memory.get_active_memory()
    arrays = mx.load(tmp_path / "a.safetensors")
    assert memory.get_active_memory() == before
    results = [(a / 2).astype(mx.int8) for a in arrays.values()]
    del arrays
    plan = mx.plan(results)
    peak = plan.predicted_peak
    scalar = 256  # bytes of the 2, as rounded
    assert peak <= before + count * size // 4 + 2 * size + scalar
    memory.reset_peak_memory()
    mx.eval(results)
    assert memory.get_peak_memory() == peak
    assert all((np.array(r) == 0).all() for r in results[::8])


@pytest.mark.parametrize("fmt", FORMATS)
def test_arrays_take_no_memory_before_they_are_evaluated(fmt, tmp_path, memory, on_cpu):
    path = tmp_path / f"a.{fmt}"
    a = mx.arange(1 << 18)
    file_cases.save(path, fmt, {"a": a})
    before = memory.get_active_memory()
    loaded = file_cases.load(path, fmt)["a"]
    assert memory.get_active_memory() == before
    memory.reset_peak_memory()
    mx.eval(loaded)
    assert memory.get_peak_memory() == memory.get_active_memory() == before + a.nbytes
    assert mx.array_equal(loaded, a).item()


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("change", ["replaced", "deleted"])
def test_a_file_may_go_before_its_arrays_are_read(fmt, change, tmp_path):
    path = tmp_path / f"a.{fmt}"
    file_cases.save(path, fmt, {"a": mx.arange(5)})
    loaded = file_cases.load(path, fmt)["a"]
    if change == "replaced":
        file_cases.save(path, fmt, {"a": loaded * 10})
        assert file_cases.load(path, fmt)["a"].tolist() == [0, 10, 20, 30, 40]
    else:
        path.unlink()
    assert loaded.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_file_that_became_shorter(fmt, tmp_path):
    path = tmp_path / f"a.{fmt}"
    a = mx.arange(5000)
    file_cases.save(path, fmt, {"a": a})
    content = path.read_bytes()
    loaded = file_cases.load(path, fmt)["a"]
    doubled = loaded * 2
    os.truncate(path, len(content) // 2)
    for _ in range(2):
        with pytest.raises(ValueError, match="has become shorter than"):
            mx.eval(doubled)
    path.write_bytes(content)  # the same file, whole again
    assert mx.array_equal(doubled, a * 2).item()


def open_files():
    return len(os.listdir("/proc/self/fd"))


def test_files_are_open_until_they_are_read(tmp_path):
    """And never more than 256 of them; what is beyond that is read at once."""
    mx.save(tmp_path / "a", mx.arange(3))
    before = open_files()
    arrays = [mx.load(tmp_path / "a.npy") for _ in range(600)]
    assert before < open_files() <= before + 257
    mx.eval(arrays)
    assert open_files() == before and all(a.tolist() == [0, 1, 2] for a in arrays[::60])
    never = mx.load(tmp_path / "a.npy")
    assert open_files() == before + 1
    del never
    assert open_files() == before


@pytest.mark.parametrize("fmt", FORMATS)
def test_transformations(fmt, tmp_path):
    path = tmp_path / f"a.{fmt}"
    file_cases.save(path, fmt, {"a": mx.array([1.0, 2.0])})

    def function(x):
        return (file_cases.load(path, fmt)["a"] * x).sum()

    assert mx.grad(function)(mx.array(3.0)).item() == 3
    assert mx.vmap(function)(mx.array([1.0, 2.0])).tolist() == [3, 6]
    assert mx.compile(function)(mx.array(2.0)).item() == 6
    mx.export_function(str(tmp_path / "f"), function, mx.array(1.0))
    path.unlink()
    assert mx.import_function(str(tmp_path / "f"))(mx.array(4.0))[0].item() == 12


@pytest.mark.skipif(not mx.is_available(mx.gpu), reason="without a GPU")
@pytest.mark.parametrize("fmt", FORMATS)
def test_arrays_for_a_gpu(fmt, tmp_path):
    path = tmp_path / f"a.{fmt}"
    file_cases.save(path, fmt, {"a": mx.arange(4)})
    for stream in (mx.gpu, mx.cpu):
        loaded = file_cases.load(path, fmt, stream=stream)["a"]
        assert mx.add(loaded, loaded, stream=stream).tolist() == [0, 2, 4, 6]


class OneByOne(io.RawIOBase):
    """A file that reads and writes three bytes at a time, and cannot be positioned."""

    def __init__(self, content=b""):
        self.content = bytearray(content)

    def readable(self):
        return True

    def readinto(self, view):
        count = min(3, len(view), len(self.content))
        view[:count] = self.content[:count]
        del self.content[:count]
        return count

    def write(self, data):
        self.content += data[:3]
        return len(data[:3])


class OnlyRead:
    def __init__(self, content):
        self.file = io.BytesIO(content)

    def read(self, count=-1):
        return self.file.read(count)


@pytest.mark.parametrize("fmt", FORMATS)
def test_file_objects_of_all_kinds(fmt, tmp_path):
    a = mx.arange(50)
    path = tmp_path / f"a.{fmt}"
    file_cases.save(path, fmt, {"a": a})
    content = path.read_bytes()
    with open(path, "rb") as opened, open(path, "rb", buffering=0) as raw:
        objects = [opened, raw, OnlyRead(content), OneByOne(content)]
        for file in objects if fmt != "npz" else objects[:2]:
            assert mx.array_equal(file_cases.load(file, fmt)["a"], a).item(), file
    file = io.BytesIO(b"before" + content)
    file.seek(6)
    if fmt != "npz":
        assert mx.array_equal(file_cases.load(file, fmt)["a"], a).item()
        written = OneByOne()
        file_cases.save(written, fmt, {"a": a})
        assert bytes(written.content) == content
    with open(tmp_path / "b", "wb") as opened:
        file_cases.save(opened, fmt, {"a": a})
    assert (tmp_path / "b").read_bytes() == content


def test_several_arrays_in_one_object():
    file = io.BytesIO()
    for i in range(3):
        mx.save(file, mx.arange(i))
    file.seek(0)
    assert [mx.load(file, format="npy").tolist() for _ in range(3)] == [[], [0], [0, 1]]


class Failing(io.RawIOBase):
    def write(self, data):
        raise KeyError("full")

    def read(self, count=-1):
        raise KeyError("empty")


@pytest.mark.parametrize("fmt", FORMATS)
def test_errors_of_file_objects(fmt):
    with pytest.raises(KeyError, match="full"):
        file_cases.save(Failing(), fmt, {"a": mx.arange(3)})
    if fmt != "npz":
        with pytest.raises(KeyError, match="empty"):
            mx.load(Failing(), format=fmt)
        with pytest.raises(TypeError):
            mx.load(io.StringIO("text" * 50), format=fmt)


@contextlib.contextmanager
def full_disk():
    """No file may become longer than 4096 bytes, not even one that the tests' output goes to."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("fmt", FORMATS)
def test_the_old_file_stays_where_writing_fails(fmt, tmp_path):
    path = tmp_path / f"a.{fmt}"
    file_cases.save(path, fmt, {"a": mx.arange(3)})
    content = path.read_bytes()
    with pytest.raises(OSError, match="File too large"), full_disk():
        file_cases.save(path, fmt, {"a": mx.arange(5000)})
    assert path.read_bytes() == content and os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("fmt", FORMATS)
def test_the_old_file_stays_where_evaluating_fails(fmt, tmp_path):
    path, short = tmp_path / f"a.{fmt}", tmp_path / "short.npy"
    file_cases.save(path, fmt, {"a": mx.arange(3)})
    content = path.read_bytes()
    mx.save(short, mx.arange(1000))
    wrong = mx.load(short)
    os.truncate(short, 200)
    with pytest.raises(ValueError, match="shorter"):
        file_cases.save(path, fmt, {"a": wrong})
    assert path.read_bytes() == content and len(os.listdir(tmp_path)) == 2


@pytest.mark.parametrize("fmt", FORMATS)
def test_links_and_permissions_stay(fmt, tmp_path):
    path, link = tmp_path / f"b.{fmt}", tmp_path / f"a.{fmt}"
    file_cases.save(path, fmt, {"a": mx.arange(3)})
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    path.chmod(0o640)
    link.symlink_to(path.name)
    file_cases.save(link, fmt, {"a": mx.arange(4)})
    assert link.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert file_cases.load(path, fmt)["a"].shape == (4,)


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="expected a regular file"):
        mx.load(tmp_path / "a.npy")
    reader = os.open(tmp_path / "a.npy", os.O_RDONLY | os.O_NONBLOCK)
    mx.save(tmp_path / "a.npy", mx.arange(3))
    assert mx.load(io.BytesIO(os.read(reader, 1000)), format="npy").tolist() == [0, 1, 2]
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "a.npy").stat().st_mode)
