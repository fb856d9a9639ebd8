"""DLPack in both directions, and asarray()."""

import gc
import os

import narrows.core as mx
import numpy as np
import pytest
from exporters import ADDRESS, Interface, Method, tensor
from support import DTYPES, name_of

TENSORS = [
    (tensor(1, 8, [3]), [0, 1, 2]),
    (tensor(1, 8, [2], [2]), [0, 2]),
    (tensor(1, 8, [2, 2], [0, 1]), [[0, 1], [0, 1]]),
    (tensor(1, 8, [2], [-1], byte_offset=3), [3, 2]),
    (tensor(1, 16, [2], byte_offset=1), [513, 1027]),
    (tensor(1, 8, [2], data=ADDRESS, version=(1, 7)), [0, 1]),
    (tensor(6, 8, [3]), [False, True, True]),
    (tensor(1, 8, []), 0),
    (tensor(2, 32, [0, 2], data=None), []),
    (tensor(1, 8, [1], [2**62]), [0]),
]


@pytest.mark.parametrize("source, expected", TENSORS, ids=range(len(TENSORS)))
def test_dlpack_tensors(source, expected):
    for convert in [mx.array, mx.from_dlpack]:
        source.deletions = source.capsules = 0
        assert convert(source).tolist() == expected
        assert source.deletions == source.capsules == 1


REFUSED_TENSORS = {
    "wrong name": (ValueError, tensor(1, 8, [3], name=b"tensor")),
    "used": (ValueError, tensor(1, 8, [3], name=b"used_dltensor")),
    "version 2": (ValueError, tensor(1, 8, [3], version=(2, 0))),
    "opaque": (ValueError, tensor(3, 64, [3])),
    "no code": (ValueError, tensor(99, 8, [3])),
    "float8": (ValueError, tensor(2, 8, [3])),
    "4 bits": (ValueError, tensor(0, 4, [3])),
    "no bits": (ValueError, tensor(0, 0, [3])),
    "bool of 16 bits": (ValueError, tensor(6, 16, [3])),
    "bfloat of 32 bits": (ValueError, tensor(4, 32, [3])),
    "complex of 32 bits": (ValueError, tensor(5, 32, [3])),
    "lanes": (ValueError, tensor(0, 8, [3], lanes=4)),
    "no lanes": (ValueError, tensor(0, 8, [3], lanes=0)),
    "tensor on a GPU": (ValueError, tensor(0, 8, [3], device_type=2)),
    "object on a GPU": (ValueError, tensor(0, 8, [3], device=(2, 0))),
    "device is text": (ValueError, tensor(0, 8, [3], device="ab" * 2)),
    "device of text": (TypeError, tensor(0, 8, [3], device=("cpu", 0))),
    "large device": (OverflowError, tensor(0, 8, [3], device=(2**70, 0))),
    "negative dimensions": (ValueError, tensor(0, 8, [3], ndim=-1)),
    "65 dimensions": (ValueError, tensor(0, 8, [1] * 65, [1] * 65)),
    "very many dimensions": (ValueError, tensor(0, 8, [1], [1], ndim=2**31 - 1)),
    "negative size": (ValueError, tensor(0, 8, [-3])),
    "shape": (OverflowError, tensor(0, 8, [2**40, 2**40])),
    "strides": (OverflowError, tensor(0, 8, [3, 3], [2**62, 1])),
    "strides in bytes": (OverflowError, tensor(0, 64, [3], [2**62])),
    "no memory": (ValueError, tensor(0, 8, [3], data=None)),
    "offset": (OverflowError, tensor(0, 8, [3], byte_offset=2**63)),
}


@pytest.mark.parametrize("case", REFUSED_TENSORS)
def test_refused_tensors(case):
    error, source = REFUSED_TENSORS[case]
    for convert in [mx.array, mx.from_dlpack]:
        source.deletions = source.capsules = 0
        with pytest.raises(error, match=r"\[array\]"):
            convert(source)
        gc.collect()
        assert source.deletions == source.capsules


def test_capsules_that_are_none():
    for wrong in [None, 1, "dltensor", object()]:

        class Tensor:
            def __dlpack__(self, wrong=wrong):
                return wrong

        with pytest.raises(ValueError, match="capsule"):
            mx.array(Tensor())
    capsule = np.arange(3).__dlpack__()

    class SameAgain:
        def __dlpack__(self):
            return capsule

    assert mx.array(SameAgain()).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="capsule"):
        mx.array(SameAgain())


def test_from_dlpack_asks_nothing_else():
    for source in [3, [1], b"abc", Interface(), Method(lambda: np.ones(2))]:
        with pytest.raises(TypeError, match="__dlpack__"):
            mx.from_dlpack(source)
    with pytest.raises(ValueError, match="copy"):
        mx.from_dlpack(np.ones(2), copy=False)
    a = mx.array([1, 2])
    assert np.shares_memory(np.asarray(mx.from_dlpack(a, copy=False)), np.asarray(a))
    assert not np.shares_memory(np.asarray(mx.from_dlpack(a, copy=True)), np.asarray(a))


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_dlpack_of_every_dtype(dtype):
    a = mx.array([[0, 1, 2], [3, 4, 5]]).astype(dtype).T
    for options in [{}, {"copy": True}]:

        class Tensor:
            def __dlpack__(self, options=options, **more):
                return a.__dlpack__(**options, **more)

        b = mx.from_dlpack(Tensor())
        assert (b.dtype == dtype or dtype == mx.float64) and b.tolist() == a.tolist()


def test_dlpack_options():
    a = mx.array([0, 1, 2])  # the host has it
    shared = np.from_dlpack(a, copy=False)
    assert np.shares_memory(shared, np.asarray(a)) and not shared.flags.writeable
    assert np.shares_memory(np.from_dlpack(a, copy=None), shared)
    copied = np.from_dlpack(a, copy=True)
    assert not np.shares_memory(copied, shared) and copied.flags.writeable
    copied[0] = 7
    assert a.tolist() == [0, 1, 2] and np.from_dlpack(a, device="cpu").tolist() == [0, 1, 2]
    for version, name in [(None, "dltensor"), ((0, 8), "dltensor"), ((1, 0), "dltensor_versioned")]:
        capsule = a.__dlpack__(stream=None, max_version=version, dl_device=(1, 0), copy=None)
        assert f'"{name}"' in repr(capsule)
    with pytest.raises(BufferError):
        a.__dlpack__(dl_device=(2, 0))
    for wrong in [{"max_version": 3}, {"dl_device": "cpu"}, {"what": 1}, {"max_version": ("a", 0)}]:
        with pytest.raises(TypeError):
            a.__dlpack__(**wrong)


@pytest.mark.skipif(
    mx.default_device() == mx.cpu
    or not (mx.cuda.is_available() or os.environ.get("NARROWS_EMULATED_GPU_MEMORY") == "separate"),
    reason="the default device has no memory of its own",
)
def test_dlpack_of_arrays_elsewhere():
    a = mx.array([0, 1, 2]) + 1
    with pytest.raises(BufferError, match="copy"):
        np.from_dlpack(a, copy=False)
    assert np.from_dlpack(a, copy=None).tolist() == np.from_dlpack(a, copy=True).tolist()
    # What was exported stays when the array moves to the device.
    b = mx.array([1.0, 2.0])
    shown = [np.from_dlpack(b), np.asarray(b)]
    mx.eval(b + 1)
    gc.collect()
    assert [x.tolist() for x in shown] == [[1, 2], [1, 2]]


def test_exported_memory_is_given_back():
    a = mx.zeros((1 << 16,))
    mx.eval(a)
    gc.collect()
    before = mx.get_active_memory()
    for options in [{}, {"copy": True}, {"max_version": (1, 0)}]:
        for _ in range(3):
            np.from_dlpack(a)
            a.__dlpack__(**options)  # nobody takes it
    gc.collect()
    assert mx.get_active_memory() == before


def test_asarray():
    a = mx.array([1, 2])
    assert np.shares_memory(np.asarray(mx.asarray(a)), np.asarray(a))
    assert np.shares_memory(np.asarray(mx.asarray(a, mx.int32, copy=False)), np.asarray(a))
    copied = mx.asarray(a, copy=True)
    assert not np.shares_memory(np.asarray(copied), np.asarray(a)) and copied.tolist() == [1, 2]
    lazy = a + 1
    both = [mx.asarray(lazy, copy=True), lazy]
    assert not np.shares_memory(*map(np.asarray, both)) and both[0].tolist() == [2, 3]
    assert mx.asarray(a.T, mx.float32, copy=True).tolist() == [1, 2]
    assert mx.grad(lambda x: mx.asarray(x * x, copy=True).sum())(mx.array(3.0)).item() == 6
    refused = [1, True, 1.5, [1, 2], (1, 2), [a, a], b"ab", np.zeros(2), np.float32(1)]
    for value in [*refused, Interface(), Method(lambda: np.ones(2)), tensor(1, 8, [3])]:
        with pytest.raises(ValueError, match="asarray"):
            mx.asarray(value, copy=False)
        assert mx.asarray(value, copy=True).tolist() == mx.array(value).tolist()
    for value, dtype in [(a, mx.float32), (a, mx.int64)]:
        with pytest.raises(ValueError, match="asarray"):
            mx.asarray(value, dtype, copy=False)
