"""Python objects, NumPy arrays and buffers as arrays, and back."""

import narrows.core as mx
import numpy as np
import pytest
from support import DTYPES, NUMPY, name_of, to_numpy

INFERRED = [
    (1, mx.int32),
    (2**31, mx.int64),
    (-(2**31), mx.int32),
    (-(2**63), mx.int64),
    (1.5, mx.float32),
    (True, mx.bool_),
    (1j, mx.complex64),
    ([], mx.float32),
    ([1, 2.0], mx.float32),
    ([True, 1], mx.int32),
    ([1, 2**40], mx.int64),
    ([1, 1j], mx.complex64),
    ([[True], [False]], mx.bool_),
    (((1, 2), [3, 4]), mx.int32),
    (b"abc", mx.uint8),
    (bytearray(b"abc"), mx.uint8),
]


@pytest.mark.parametrize("value, dtype", INFERRED, ids=str)
def test_inference(value, dtype):
    a = mx.array(value)
    assert a.dtype == dtype
    expected = list(value) if isinstance(value, (bytes, bytearray)) else value
    np.testing.assert_array_equal(to_numpy(a), np.array(expected, NUMPY[dtype]))


def test_dtype_wins():
    assert mx.array([1.7, -1.7], mx.int32).tolist() == [1, -1]
    assert mx.array([1 + 2j], mx.float32).tolist() == [1.0]
    assert mx.array(2**63, mx.uint64).item() == 2**63
    assert mx.array(2**70, mx.float32).item() == 2.0**70


@pytest.mark.parametrize(
    "value",
    [
        [[1], [1, 2]],
        [[1], 2],
        [1, [2]],
        ["a"],
        "a",
        {},
        range(3),
        [1, None],
        2**63,
        [1, 2**70],
        [mx.array([1]), 2],
        [mx.zeros(2), mx.zeros(3)],
    ],
    ids=str,
)
def test_refused(value):
    with pytest.raises(ValueError, match=r"\[array\]"):
        mx.array(value)


def test_none_is_refused():
    with pytest.raises(TypeError):
        mx.array(None)


def test_list_that_holds_itself():
    a = []
    a.append(a)
    with pytest.raises(ValueError, match="deep"):
        mx.array(a)


def test_lists_of_arrays():
    a = mx.array([[mx.array([1, 2]), mx.array([3.5, 4])]])
    assert a.dtype == mx.float32 and a.tolist() == [[[1, 2], [3.5, 4]]]
    assert mx.array([mx.array(1), 2]).tolist() == [1, 2]


def test_empty_lists_have_shapes():
    assert mx.array([[], []]).shape == (2, 0) and mx.array(()).shape == (0,)


NUMPY_TYPES = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "c8"]


@pytest.mark.parametrize("code", NUMPY_TYPES)
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        lambda x: x.T,
        lambda x: x[::-1, ::2],
        lambda x: x[:0],
        lambda x: x[0, 0],
        lambda x: np.broadcast_to(x[:1], (3, 4)),
        np.asfortranarray,
    ],
)
def test_numpy_round_trip(code, view):
    x = np.asarray(view(np.arange(12).reshape(3, 4).astype(code)))
    a = mx.array(x)
    back = np.array(a)
    assert back.dtype == x.dtype and back.shape == x.shape
    np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        lambda x: x[:, 1:],
        lambda x: x.T,
        lambda x: x[::-1, ::-2],
        lambda x: x.reshape(13, 100, -1)[:, 7:95].transpose(1, 0, 2),
    ],
)
@pytest.mark.parametrize("code", ["b1", "f2", "f4", "f8", "i8", "c8", "c16"])
def test_large_arrays(code, view):
    x = view((np.arange(1300 * 1201) % 251).reshape(1300, 1201).astype(code))
    np.testing.assert_array_equal(np.array(mx.array(x)), x)


@pytest.mark.parametrize("code", ["f2", "f4", "f8", "i8", "c8", "c16"])
def test_unaligned_arrays(code):
    x = (np.arange(24) % 7).astype(code)
    y = np.frombuffer(b"?" + x.tobytes(), np.uint8)[1:].view(code).reshape(4, 6)
    assert not y.flags.aligned
    np.testing.assert_array_equal(np.array(mx.array(y)), y)
    np.testing.assert_array_equal(np.array(mx.array(y.T[::-2])), y.T[::-2])


def test_many_dimensions():
    x = np.arange(2**20, dtype=np.int32).reshape([2] * 20)
    x = x.transpose([*range(1, 20, 2), *range(0, 20, 2)])
    np.testing.assert_array_equal(np.array(mx.array(x)), x)


def test_doubles_become_floats():
    assert mx.array(np.zeros(2)).dtype == mx.float32
    assert mx.array(np.zeros((2, 2), np.complex128).T).dtype == mx.complex64
    a = mx.array(np.array([1 / 3]), mx.float64)
    assert a.dtype == mx.float64 and a.item() == 1 / 3
    assert mx.array(np.float64(1.5)).dtype == mx.float32
    assert mx.array(np.int64(3)).dtype == mx.int64


def test_numpy_types_without_dtype():
    for bad in [np.array("a"), np.zeros(2, "M8[s]"), np.zeros(2, ">f4")]:
        with pytest.raises(ValueError, match="array"):
            mx.array(bad)


def test_read_only_and_copied():
    x = np.arange(3)
    x.flags.writeable = False
    assert mx.array(x).tolist() == [0, 1, 2]
    y = np.arange(3.0, dtype=np.float32)
    a = mx.array(y)
    y[0] = 7
    assert a.tolist() == [0, 1, 2]


FORMATS = {mx.bfloat16: "bfloat16", mx.complex64: "Zf", mx.bool_: "?", mx.float16: "e"}


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_buffer(dtype):
    a = mx.zeros((2, 3), dtype)
    view = memoryview(a)
    assert view.shape == (2, 3) and view.itemsize == dtype.size and not view.readonly
    assert view.strides == (3 * dtype.size, dtype.size)
    if dtype in FORMATS:
        assert view.format == FORMATS[dtype]
    assert bytes(a) == bytes(6 * dtype.size)


def test_buffer_is_a_view_that_lives_on():
    a = mx.array([[1, 2, 3], [4, 5, 6]]) + 0
    mx.eval(a)
    x = np.asarray(a.T)
    assert not x.flags.owndata and x.strides == (4, 12)
    view = memoryview(a)
    a += 1
    mx.eval(a)
    assert view.tolist() == [[1, 2, 3], [4, 5, 6]] and x.T.tolist() == view.tolist()
    del a
    assert view.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_consumers_that_cannot_walk_strides():
    a = mx.array([[1, 2], [3, 4]], mx.uint8).T
    assert bytes(memoryview(a)) == b"\x01\x03\x02\x04"
    assert b"".join([a]) == b"\x01\x03\x02\x04"


def test_array_protocol():
    a = mx.array([1, 2])
    assert a.__array__().dtype == np.int32
    assert a.__array__(np.float32).dtype == np.float32
    assert np.array(a, dtype=np.float64).tolist() == [1, 2]
    assert isinstance(np.array([1, 2]) + a, np.ndarray)
    with pytest.raises(ValueError):
        np.array(mx.array([1.5], mx.bfloat16))


def test_dlpack():
    a = mx.array([[1.0, 2.0], [3.0, 4.0]]).T
    assert np.from_dlpack(a).tolist() == a.tolist()
    assert a.__dlpack_device__() == (1, 0)
    assert mx.from_dlpack(a).tolist() == a.tolist()
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert mx.from_dlpack(x.T).tolist() == x.T.tolist()
    with pytest.raises(ValueError):
        mx.from_dlpack(x, copy=False)
    with pytest.raises(TypeError):
        mx.from_dlpack(3)
