"""randint(): every integer of the range, equally likely, and nothing outside of it."""

import narrows.core as mx
import numpy as np
import pytest
from support import name_of

KEY = mx.random.key(7)
INTEGERS = [getattr(mx, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]
COUNT = 100_000


def words(key, shape):
    """The key's 32 bits for each position, as Python's integers."""
    return np.array(mx.random.randint(0, 2**32, shape, mx.uint32, key=key)).astype(object)


def draw(low, high, count=COUNT, dtype=mx.int64, key=KEY):
    result = mx.random.randint(low, high, (count,), dtype, key=key)
    assert result.dtype == dtype
    return np.array(result).astype(object)


# Sizes from 1 to 2^64, odd ones, and neighbours of powers of two.
SIZES = [1, 2, 3, 7, 10, 255, 1000, 65537, 2**24 + 1, 2**31, 2**32 - 5, 2**32, 2**32 + 1]
SIZES += [3 * 2**33, 2**40 + 1024, 2**53 + 1, 2**63 - 1, 2**63, 3 * 2**62 + 1, 2**64 - 1, 2**64]
RANGES = [(low, n) for n in SIZES for low in (0, -5, 2**40, -(2**63)) if low + n <= 2**63]


@pytest.mark.parametrize("low, n", RANGES)
def test_integers_are_the_upper_part_of_the_product(low, n):
    """Exactly floor(x * n / 2^b), for the b bits x of the key."""
    first, second = mx.random.split(KEY)
    bits = (words(KEY, (500,)) << 32) + words(first, (500,))
    expected = bits * n >> 64
    if n > 2**32:
        expected = ((bits << 32) + words(second, (500,))) * n >> 96
    assert (draw(low, low + n, 500) - low == expected).all()


@pytest.mark.parametrize("n", [n for n in SIZES if n <= 2**64])
def test_unsigned_ranges(n):
    x = draw(0, n, 500, mx.uint64)
    assert (x >= 0).all() and (x < n).all()
    if n < 2**63:
        assert (x == draw(0, n, 500)).all()


def chi_square(counts, probabilities):
    expected = np.asarray(probabilities) * counts.sum()
    return ((counts - expected) ** 2 / expected).sum()


def assert_uniform(buckets, number, probabilities=None):
    """Five standard deviations of the statistic are allowed; the key is fixed."""
    counts = np.bincount(np.asarray(buckets, dtype=np.int64), minlength=number)
    assert len(counts) == number
    probabilities = [1 / number] * number if probabilities is None else probabilities
    degrees = number - 1
    assert abs(chi_square(counts, probabilities) - degrees) < 5 * (2 * degrees) ** 0.5


@pytest.mark.parametrize("n", [3, 7, 10, 31, 1000, 1023])
@pytest.mark.parametrize("low", [0, -5, 2**40, 2**63 - 2000, -(2**63)])
def test_each_integer_is_equally_likely(low, n):
    x = draw(low, low + n)
    assert x.min() == low and x.max() == low + n - 1
    assert_uniform(x - low, n)


@pytest.mark.parametrize("n", [n for n in SIZES if n >= 2**24])
def test_large_ranges_are_even_in_their_first_and_last_digits(n):
    x = draw(0, n, COUNT, mx.uint64)
    assert_uniform(x * 97 // n, 97)
    assert_uniform(x % 89, 89)
    assert_uniform(x % 2, 2)


def test_neighbours_above_what_float32_holds():
    x = draw(2**40, 2**40 + 1024, 20_000)
    assert_uniform(x - 2**40, 1024)


@pytest.mark.parametrize("dtype", INTEGERS, ids=name_of)
def test_whole_range_of_a_dtype(dtype):
    limits = np.iinfo(name_of(dtype))
    low, high = int(limits.min), int(limits.max) + 1
    x = draw(low, high, COUNT, dtype)
    assert x.min() >= low and x.max() < high
    assert_uniform((x - low) * 64 // (high - low), 64)
    assert_uniform(x % 4, 4)
    assert set(draw(high - 1, high, 10, dtype)) == {high - 1}
    assert set(draw(low, low + 1, 10, dtype)) == {low}


BOUNDS = [(0, 10), (-5, 3), (0, 100), (7, 8), (5, 5), (5, 2)]


@pytest.mark.parametrize("wide", [mx.int8, mx.int16, mx.int32, mx.int64], ids=name_of)
@pytest.mark.parametrize("dtype", INTEGERS, ids=name_of)
def test_bounds_in_arrays(dtype, wide):
    bounds = [b for b in BOUNDS if min(b) >= 0 or "u" not in name_of(dtype)]
    low, high = (mx.array(b, dtype=wide)[:, None] for b in zip(*bounds))
    shape = (len(bounds), 50)
    x = mx.random.randint(low, high, shape, dtype, key=KEY)
    assert x.dtype == dtype
    for row, (first, end) in zip(x.tolist(), bounds):
        assert all(first <= value < end for value in row) or (end <= first and set(row) == {first})
    # The same integers as with numbers, up to which row they are in.
    for i, (first, end) in enumerate(bounds):
        one = mx.random.randint(first, end, shape, dtype, key=KEY)
        assert one.tolist()[i] == x.tolist()[i]


MIXED = {
    "uint64 and int64": (mx.array(-3, dtype=mx.int64), mx.array(2**63, dtype=mx.uint64), 2**63),
    "int64 and uint64": (mx.array(5, dtype=mx.uint64), mx.array(9, dtype=mx.int64), 9),
    "negative above": (mx.array(5, dtype=mx.uint64), mx.array(-9, dtype=mx.int64), 5),
    "int32 and uint32": (
        mx.array(-(2**31), dtype=mx.int32),
        mx.array(2**32 - 1, dtype=mx.uint32),
        2**32 - 1,
    ),
    "bool": (mx.array(False), mx.array(True), 1),
    "number and array": (3, mx.array([9], dtype=mx.uint8), 9),
    "fractions": (mx.array(0.5), mx.array(7.9), 8),
    "half": (mx.array(-3, dtype=mx.float16), mx.array(3, dtype=mx.bfloat16), 3),
}


@pytest.mark.parametrize("name", MIXED)
def test_bounds_of_different_dtypes(name):
    low, high, end = MIXED[name]
    first = int(np.ceil(low.item() if isinstance(low, mx.array) else low))
    x = draw(low, high, 5000)
    assert (x >= first).all() and (x < max(end, first + 1)).all()
    if end > first:
        assert (x - first).max() >= (end - first) * 0.99 - 1
        assert (x - first).min() <= (end - first) * 0.01


def test_bounds_that_are_fractions():
    assert set(draw(0.5, 7.9, 1000)) == set(range(1, 8))
    assert set(draw(-1.5, 1.5, 1000)) == {-1, 0, 1}
    assert (draw(0.0, 10.0) == draw(0, 10)).all()


def test_bool_tells_whether_the_integer_is_zero():
    assert set(draw(0, 2, 100, mx.bool_)) == {False, True}
    assert set(draw(0, 1, 100, mx.bool_)) == {False}
    assert set(draw(2**40, 2**41, 100, mx.bool_)) == {True}
    for low, high in [(-1, 2), (mx.array(-1), mx.array(2))]:
        share = np.mean(draw(low, high, COUNT, mx.bool_).astype(float))
        assert abs(share - 2 / 3) < 0.01


OUTSIDE = [
    (0, 257, mx.uint8),
    (-1, 5, mx.uint8),
    (-1, 5, mx.uint64),
    (0, 129, mx.int8),
    (-129, 0, mx.int8),
    (0, 2**31 + 1, mx.int32),
    (0, 2**63 + 1, mx.int64),
    (0, 2**64 + 1, mx.uint64),
    (-(2**63) - 1, 0, mx.int64),
    (0, 10**30, mx.uint64),
    (0.0, float("inf"), mx.int64),
    (float("nan"), 2, mx.int64),
]


@pytest.mark.parametrize("low, high, dtype", OUTSIDE)
def test_ranges_that_do_not_fit(low, high, dtype):
    with pytest.raises(ValueError, match="randint"):
        mx.random.randint(low, high, (2,), dtype)


def test_other_errors():
    with pytest.raises(ValueError, match="randint"):
        mx.random.randint(mx.zeros((3,), mx.int32), 5, (2,))
    with pytest.raises(ValueError, match="float32"):
        mx.random.randint(0, 5, (2,), mx.float32)
    with pytest.raises(ValueError, match="key"):
        mx.random.randint(0, 5, (2,), key=mx.array([1, 2]))


@pytest.mark.parametrize("high, dtype", [(10, mx.int32), (3**25, mx.int64)])
def test_transformations(high, dtype):
    keys = mx.random.split(KEY, 4)
    expected = [mx.random.randint(0, high, (5,), dtype, key=key).tolist() for key in keys]

    def one(key):
        return mx.random.randint(0, high, (5,), dtype, key=key)

    assert mx.vmap(one)(keys).tolist() == expected
    assert [mx.compile(one)(key).tolist() for key in keys] == expected
    assert mx.random.randint(0, high, (), dtype, key=KEY).shape == ()
    assert mx.random.randint(0, high, (0, 3), dtype, key=KEY).shape == (0, 3)


def test_keys_follow_one_another():
    """A draw takes one key of the sequence."""
    mx.random.seed(5)
    mx.random.randint(0, 10, (3,))
    after = mx.random.uniform().item()
    mx.random.seed(5)
    mx.random.uniform()
    assert mx.random.uniform().item() == after
