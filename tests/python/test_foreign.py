"""Arrays of other libraries: what is taken, and which error comes where it cannot be."""

import ctypes
import pickle

import narrows.core as mx
import numpy as np
import pytest
from exporters import ADDRESS, MEMORY, Bfloat16, BufferExporter, Interface, Method, Raising, buffer
from support import NUMPY, to_numpy

# Without strides: so ctypes and NumPy's scalars export.
CTYPES = [
    ((ctypes.c_float * 2)(1, 2), mx.float32, [1, 2]),
    ((ctypes.c_double * 2)(1, 2), mx.float32, [1, 2]),
    ((ctypes.c_long * 2)(-1, 2**40), mx.int64, [-1, 2**40]),
    ((ctypes.c_uint16 * 2 * 2)((1, 2), (3, 4)), mx.uint16, [[1, 2], [3, 4]]),
    ((ctypes.c_bool * 2)(True, False), mx.bool_, [True, False]),
    ((ctypes.c_int * 0)(), mx.int32, []),
    (ctypes.c_float(1.5), mx.float32, 1.5),
    (np.float16(1.5), mx.float16, 1.5),
    (np.uint8(7), mx.uint8, 7),
    (np.bool_(True), mx.bool_, True),
]


@pytest.mark.parametrize("value, dtype, expected", CTYPES, ids=lambda v: repr(v)[:20])
def test_buffers_without_strides(value, dtype, expected):
    a = mx.array(value)
    assert a.dtype == dtype and a.tolist() == expected
    ones = np.ones(np.shape(expected))
    assert (mx.ones(ones.shape) * value).tolist() == (ones * expected).tolist()


def test_operand_without_strides():
    assert (mx.ones((2,)) * (ctypes.c_float * 2)(1, 2)).tolist() == [1, 2]


FORMATS = [
    (b"<f", 4, np.float32),
    (b"=q", 8, np.int64),
    (b"@l", 8, np.int64),
    (b"l", 8, np.int64),
    (b"<l", 4, np.int32),
    (b"<l", 8, np.int64),
    (b"n", 8, np.int64),
    (b"N", 8, np.uint64),
    (b"c", 1, np.int8),
    (b"?", 1, np.bool_),
    (b"e", 2, np.float16),
    (b"d", 8, np.float64),
    (b"Zf", 8, np.complex64),
    (b"<Zd", 16, np.complex128),
    (b">B", 1, np.uint8),
    (b"!b", 1, np.int8),
    (None, 1, np.uint8),
]


@pytest.mark.parametrize("format, itemsize, code", FORMATS, ids=str)
@pytest.mark.parametrize("strides", [None, 1, -1, 3, 0])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of overflow in its casts
def test_formats(format, itemsize, code, strides):
    start = 16
    step = None if strides is None else strides * itemsize
    offset = start if step is None or step >= 0 else start + 16
    source = buffer(format, itemsize, [2], None if step is None else [step], buf=ADDRESS + offset)
    expected = np.lib.stride_tricks.as_strided(
        MEMORY[offset:].view(np.uint8)[:itemsize].view(code),
        (2,),
        (itemsize if step is None else step,),
    )
    np.testing.assert_array_equal(
        to_numpy(mx.array(source)), expected.astype(NUMPY[mx.array(source).dtype])
    )
    assert source.exports == 0


def test_elements_between_multiples_of_their_size():
    x = np.zeros(3, "i1,f4,c16")
    x["f1"], x["f2"] = [1, 2, 3], [1j, 2, 3]
    assert mx.array(x["f1"]).tolist() == [1, 2, 3]
    assert mx.array(x["f2"][::-1]).tolist() == [3, 2, 1j]


def test_bools_of_any_byte():
    assert mx.array(buffer(b"?", 1, [3])).tolist() == [False, True, True]
    state = mx.array([True, False, True]).__getstate__()
    a = mx.array.__new__(mx.array)
    a.__setstate__((b"\x02\x00\xff", *state[1:]))
    assert a.tolist() == [True, False, True] and a.astype(mx.int32).tolist() == [1, 0, 1]
    assert pickle.loads(pickle.dumps(a)).tolist() == a.tolist()


def test_pointers_and_sizes_that_do_not_matter():
    assert mx.array(buffer(b"f", 4, [0, 3], buf=None)).shape == (0, 3)
    assert mx.array(buffer(b"f", 4, [3, 0], [2**62, 2**62])).shape == (3, 0)
    assert mx.array(buffer(b"B", 1, [1, 2], [2**62, 1])).tolist() == [[0, 1]]
    assert mx.array(buffer(b"B", 1, [2], ndim=0, len=1)).tolist() == 0
    assert mx.array(buffer(b"B", 1, [2], readonly=1)).tolist() == [0, 1]
    empty = buffer(b"B", 1, [0, 2**40, 2**40], len=0)
    assert mx.array(empty).shape == (0, 2**40, 2**40)


REFUSED_BUFFERS = {
    "big endian": (ValueError, buffer(b">f", 4, [2])),
    "network order": (ValueError, buffer(b"!i", 4, [2])),
    "structure": (ValueError, buffer(b"T{<f:x:<f:y:}", 8, [2])),
    "repeated": (ValueError, buffer(b"3f", 12, [2])),
    "long double": (ValueError, buffer(b"g", 16, [2])),
    "text": (ValueError, buffer(b"2w", 8, [2])),
    "object": (ValueError, buffer(b"O", 8, [2])),
    "pointer": (ValueError, buffer(b"&<f", 8, [2])),
    "empty format": (ValueError, buffer(b"", 1, [2])),
    "order only": (ValueError, buffer(b"<", 1, [2])),
    "half a complex": (ValueError, buffer(b"Z", 8, [2])),
    "complex integer": (ValueError, buffer(b"Zi", 8, [2])),
    "item too large": (ValueError, buffer(b"f", 8, [2])),
    "item too small": (ValueError, buffer(b"f", 2, [2])),
    "no item": (ValueError, buffer(b"f", 0, [2])),
    "negative item": (ValueError, buffer(b"f", -4, [2])),
    "bytes of four": (ValueError, buffer(None, 4, [2])),
    "suboffsets": (ValueError, buffer(b"f", 4, [2], suboffsets=[0])),
    "negative dimensions": (ValueError, buffer(b"f", 4, [2], ndim=-1)),
    "65 dimensions": (ValueError, buffer(b"f", 4, [1] * 65)),
    "negative size": (ValueError, buffer(b"f", 4, [-1])),
    "negative sizes": (ValueError, buffer(b"f", 4, [-1, -2])),
    "short": (ValueError, buffer(b"f", 4, [2], len=7)),
    "long": (ValueError, buffer(b"f", 4, [2], len=9)),
    "no memory": (ValueError, buffer(b"f", 4, [2], buf=None)),
    "shape": (OverflowError, buffer(b"f", 4, [2**40, 2**40], len=8)),
    "bytes": (OverflowError, buffer(b"f", 4, [2**62], len=8)),
    "strides": (OverflowError, buffer(b"f", 4, [3, 2], [2**62, 4])),
    "lowest stride": (OverflowError, buffer(b"f", 4, [2], [-(2**63)])),
    "strides together": (OverflowError, buffer(b"B", 1, [2, 2], [2**62, 2**62])),
    "fails silently": (ValueError, buffer(b"f", 4, [2], fails=True)),
}


@pytest.mark.parametrize("case", REFUSED_BUFFERS)
def test_refused_buffers(case):
    error, source = REFUSED_BUFFERS[case]
    with pytest.raises(error, match=r"\[array\]"):
        mx.array(source)
    with pytest.raises(error, match=r"\[array\]"):
        mx.ones((2,)) + source
    with pytest.raises(error, match=r"\[array\]"):
        mx.array([[1, 2], source])
    assert source.exports == 0


def test_buffer_without_shape():
    source = BufferExporter(buf=ADDRESS, len=3, itemsize=1, ndim=1, format=b"B")
    assert mx.array(source).tolist() == [0, 1, 2]
    source = BufferExporter(buf=ADDRESS, len=4, itemsize=1, ndim=2, format=b"B")
    with pytest.raises(ValueError, match="dimensions"):
        mx.array(source)


def test_released_memory():
    view = memoryview(b"abc")
    view.release()
    with pytest.raises(ValueError, match="access") as raised:
        mx.array(view)
    assert isinstance(raised.value.__cause__, ValueError)
    held = bytearray(b"abc")
    mx.array(held)
    held.append(1)  # no export is left


WITHOUT_DTYPE = [
    np.datetime64("2020-01-01"),
    np.timedelta64(1, "D"),
    np.array(["2020-01-01"], "M8[D]"),
    np.array([1], "m8[s]"),
    np.array("a"),
    np.str_("a"),
    np.void(b"ab"),
    np.array([None]),
    np.zeros(2, ">f4"),
    np.zeros(2, "i4,i4"),
    np.longdouble(1),
    np.zeros(1, "g"),
]


@pytest.mark.parametrize("value", WITHOUT_DTYPE, ids=repr)
def test_elements_without_dtype(value):
    a = mx.ones((1,))
    for refused in [
        lambda: mx.array(value),
        lambda: mx.array([value]),
        lambda: mx.full((2,), value),
        lambda: a + value,
        lambda: a < value,
        lambda: mx.equal(a, value),
    ]:
        with pytest.raises(ValueError, match=r"\["):
            refused()
    assert (a == value) is False and (a != value) is True


def test_unequal_to_what_is_no_array():
    a = mx.array([1, 2])
    for other in [None, "a", object(), [1, 2], {}, int]:
        assert (a == other) is False and (a != other) is True
    assert None in [a, None] and None not in [a]
    with pytest.raises(TypeError):
        _ = a < None
    with pytest.raises(ValueError):
        _ = a == buffer(b"f", 4, [2], len=7)


@pytest.mark.parametrize("shape", [(2, 2), (4,), (1, 4)])
def test_bfloat16_by_interface(shape):
    values = [1.5, -2.0, 3.0e38, 2.0**-120]
    source = Bfloat16(values, shape)
    a = mx.array(source)
    assert a.dtype == mx.bfloat16
    expected = (np.array(values, np.float32).view(np.uint32) >> 16 << 16).view(np.float32)
    np.testing.assert_array_equal(to_numpy(a), expected.reshape(shape))
    assert mx.array(source, mx.float32).dtype == mx.float32
    assert mx.array(memoryview(a)).tolist() == a.tolist()


def test_bfloat16_of_ml_dtypes():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.array([[1.5, -2], [0.25, np.inf]], ml_dtypes.bfloat16)
    for source in [x, x.T, x[::-1, ::-1], x[:0], x[0, 0], np.array(1.5, x.dtype)]:
        a = mx.array(source)
        assert a.dtype == mx.bfloat16 and a.shape == np.shape(source)
        np.testing.assert_array_equal(to_numpy(a), np.asarray(source, np.float32))
    one = ml_dtypes.bfloat16(1.5)
    assert (mx.ones((2,), mx.bfloat16) * one).dtype == mx.bfloat16
    assert (mx.ones((2,)) * one).dtype == mx.float32
    assert (mx.ones((2, 2), mx.bfloat16) * x).tolist() == x.astype(float).tolist()
    assert mx.array([one, 2]).tolist() == [1.5, 2]
    assert mx.array([x[0], mx.array([1, 2])]).tolist() == [[1.5, -2], [1, 2]]
    with pytest.raises(ValueError, match="float8_e4m3fn"):
        mx.array(np.array([1], ml_dtypes.float8_e4m3fn))


INTERFACES = [
    ({}, [0, 1, 2, 3]),
    ({"shape": ()}, 0),
    ({"shape": (2, 2), "strides": (1, 2)}, [[0, 2], [1, 3]]),
    ({"typestr": "<u2", "shape": (2,)}, [256, 770]),
    ({"typestr": "=u2", "shape": (1,)}, [256]),
    ({"typestr": "|b1", "shape": (2,)}, [False, True]),
    ({"shape": (2,), "data": bytearray(b"abc"), "offset": 1}, [98, 99]),
    ({"shape": (2,), "data": b"abc", "strides": (-1,), "offset": 2}, [99, 98]),
    ({"shape": (0,), "data": (0, False)}, []),
    ({"strides": None, "mask": None, "descr": 1, "version": "?"}, [0, 1, 2, 3]),
]


@pytest.mark.parametrize("fields, expected", INTERFACES, ids=str)
def test_interface(fields, expected):
    assert mx.array(Interface(**fields)).tolist() == expected


REFUSED_INTERFACES = [
    (ValueError, {"typestr": None}),
    (ValueError, {"typestr": 1}),
    (ValueError, {"typestr": ""}),
    (ValueError, {"typestr": "<"}),
    (ValueError, {"typestr": "\ud800"}),
    (ValueError, {"typestr": "<f"}),
    (ValueError, {"typestr": "<f4f4"}),
    (ValueError, {"typestr": "<f-4"}),
    (ValueError, {"typestr": "<f99999999999"}),
    (ValueError, {"typestr": ">f4"}),
    (ValueError, {"typestr": "<V2"}),
    (ValueError, {"typestr": "<M8[D]"}),
    (ValueError, {"typestr": "|O8"}),
    (ValueError, {"shape": None}),
    (ValueError, {"shape": [4]}),
    (ValueError, {"shape": (-1,)}),
    (TypeError, {"shape": (1.0,)}),
    (TypeError, {"shape": ("1",)}),
    (OverflowError, {"shape": (2**70,)}),
    (OverflowError, {"shape": (2**40, 2**40)}),
    (ValueError, {"shape": (1,) * 65}),
    (ValueError, {"strides": (1, 1)}),
    (ValueError, {"strides": 1}),
    (OverflowError, {"strides": (2**62,)}),
    (OverflowError, {"strides": (-(2**63),)}),
    (ValueError, {"data": None}),
    (ValueError, {"data": 1}),
    (ValueError, {"data": "abcd"}),
    (ValueError, {"data": (ADDRESS,)}),
    (ValueError, {"data": (str(ADDRESS), True)}),
    (ValueError, {"data": (0, True)}),
    (OverflowError, {"data": (2**70, True)}),
    (ValueError, {"data": b"abc"}),
    (ValueError, {"data": b"abcd", "offset": 1}),
    (ValueError, {"data": b"abcd", "offset": -1}),
    (OverflowError, {"data": b"abcd", "offset": 2**70}),
    (ValueError, {"data": b"abcd", "strides": (-1,)}),
    (ValueError, {"data": b"abcd", "strides": (2,)}),
    (ValueError, {"mask": Interface()}),
]


@pytest.mark.parametrize("error, fields", REFUSED_INTERFACES)
def test_refused_interfaces(error, fields):
    source = Interface(**fields)
    with pytest.raises(error, match=r"\[array\]"):
        mx.array(source)
    with pytest.raises(error):
        mx.array(Method(lambda: source))


@pytest.mark.parametrize("missing", ["typestr", "shape", "data"])
def test_interface_with_a_field_missing(missing):
    source = Interface()
    del source.__array_interface__[missing]
    with pytest.raises(ValueError, match=r"\[array\]"):
        mx.array(source)
    source.__array_interface__ = [1]
    with pytest.raises(ValueError, match="dictionary"):
        mx.array(source)


def test_array_method():
    assert mx.array(Method(lambda: np.arange(3))).tolist() == [0, 1, 2]
    assert (mx.ones((3,)) + Method(lambda: np.arange(3.0))).tolist() == [1, 2, 3]
    for wrong in [None, "a", 1, [1], object()]:
        with pytest.raises(ValueError, match="__array__"):
            mx.array(Method(lambda wrong=wrong: wrong))
    for source in [np.ndarray, Method, Interface, mx.array]:
        with pytest.raises(ValueError, match=r"\[array\]"):
            mx.array(source)  # a class is not what its instances are


PROTOCOLS = ["__dlpack__", "__array_interface__", "__array__", "__mlx_array__"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_attributes_that_raise(name):
    for error in [RuntimeError, KeyboardInterrupt, MemoryError]:
        with pytest.raises(error):
            mx.array(Raising(error("no"), name))
        with pytest.raises(error):
            _ = mx.ones((2,)) == Raising(error("no"), name)
    with pytest.raises(ValueError, match="Raising"):
        mx.array(Raising(AttributeError(), name))


def test_methods_that_raise():
    def fail(error):
        raise error

    for error, raised in [
        (BufferError, ValueError),
        (ZeroDivisionError, ValueError),
        (MemoryError, MemoryError),
        (KeyboardInterrupt, KeyboardInterrupt),
    ]:
        with pytest.raises(raised):
            mx.array(Method(lambda error=error: fail(error)))

        class Tensor:
            def __dlpack__(self, error=error, **options):
                raise error

        with pytest.raises(raised):
            mx.array(Tensor())
        with pytest.raises(error):
            mx.from_dlpack(Tensor())
