"""What the tests share: dtypes, conversions to and from NumPy, counters."""

import narrows.core as mx
import numpy as np
import pytest

BOOL = [mx.bool_]
UNSIGNED = [mx.uint8, mx.uint16, mx.uint32, mx.uint64]
SIGNED = [mx.int8, mx.int16, mx.int32, mx.int64]
FLOATING = [mx.float16, mx.bfloat16, mx.float32, mx.float64]
COMPLEX = [mx.complex64]
DTYPES = BOOL + UNSIGNED + SIGNED + FLOATING + COMPLEX

NUMPY = {
    mx.bool_: np.bool_,
    mx.uint8: np.uint8,
    mx.uint16: np.uint16,
    mx.uint32: np.uint32,
    mx.uint64: np.uint64,
    mx.int8: np.int8,
    mx.int16: np.int16,
    mx.int32: np.int32,
    mx.int64: np.int64,
    mx.float16: np.float16,
    mx.bfloat16: np.float32,
    mx.float32: np.float32,
    mx.float64: np.float64,
    mx.complex64: np.complex64,
}

# Relative error of one operation: a few units in the last place.
TOLERANCE = {
    mx.float16: 2e-3,
    mx.bfloat16: 1.6e-2,
    mx.float32: 4e-6,
    mx.float64: 1e-13,
    mx.complex64: 2e-5,
}


def name_of(dtype):
    return repr(dtype).rsplit(".", 1)[1]


def to_numpy(a):
    """The values of an array; bfloat16 as float32."""
    return np.array(a.astype(mx.float32) if a.dtype == mx.bfloat16 else a)


def from_numpy(values, dtype):
    return mx.array(values, dtype=dtype)


def assert_close(actual, expected, dtype=None, scale=1.0):
    """Compares an array with NumPy values by the tolerance of its dtype."""
    dtype = dtype or actual.dtype
    values = to_numpy(actual)
    assert values.shape == np.shape(expected), (values.shape, np.shape(expected))
    if dtype in TOLERANCE:
        tolerance = TOLERANCE[dtype] * scale
        np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance)
    else:
        np.testing.assert_array_equal(values, expected)


def missing(*names):
    """Those of some operations, as in `fast.rope`, that narrows.core has not."""
    return [name for name in names if not _has(name)]


def _has(name):
    owner = mx
    for part in name.split("."):
        if not hasattr(owner, part):
            return False
        owner = getattr(owner, part)
    return True


def needs(*names):
    """A mark for tests of what is made of operations: it skips them where one is missing."""
    lacking = missing(*names)
    return pytest.mark.skipif(bool(lacking), reason=f"without {', '.join(lacking)}")
