"""Reading and writing by arrays of indices: functions, dtypes, what is out of range, memory."""

import itertools

import narrows.core as mx
import numpy as np
import pytest
from support import DTYPES, NUMPY, SIGNED, UNSIGNED, assert_close, from_numpy, name_of, to_numpy

INDEX_DTYPES = SIGNED + UNSIGNED
RNG = np.random.default_rng(0)
LAYOUTS = {
    "contiguous": lambda a: a,
    "transposed": lambda a: mx.array(to_numpy(a).T.copy()).T,
    "reversed": lambda a: mx.array(to_numpy(a)[::-1].copy())[::-1],
}


def values_of(shape, dtype):
    return from_numpy(RNG.integers(0, 2 if dtype == mx.bool_ else 100, shape), dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
@pytest.mark.parametrize("index_dtype", INDEX_DTYPES, ids=name_of)
def test_dtypes(dtype, index_dtype):
    a = values_of((7, 5), dtype)
    x = to_numpy(a)
    index = mx.array([0, 6, 3, 3], dtype=index_dtype)
    i = to_numpy(index).astype(np.int64)
    result = a[index]
    assert result.dtype == dtype
    assert_close(result, x[i])
    assert_close(
        mx.take(a, index - 1 if index_dtype in SIGNED else index, axis=0),
        x[i - (index_dtype in SIGNED)],
    )
    b, y = mx.array(a), x.copy()
    update = values_of((4, 5), dtype)
    b[mx.array([0, 6, 3, 1], dtype=index_dtype)] = update  # GPUs write in any order
    y[[0, 6, 3, 1]] = to_numpy(update)
    assert_close(b, y)
    assert b.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
@pytest.mark.parametrize("name", ["add", "multiply", "minimum", "maximum"])
def test_updates_of_all_dtypes(dtype, name):
    a, update = values_of((6, 3), dtype), values_of((5, 3), dtype)
    index = np.array([1, 4, 1, 0, 1])
    x = to_numpy(a).copy()
    with np.errstate(over="ignore"):
        getattr(np, name).at(x, index, to_numpy(update))
    scale = 4 if dtype in (mx.float16, mx.bfloat16) else 1
    assert_close(getattr(a.at[mx.array(index)], name)(update), x, dtype, scale)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("axis", [0, 1, 2, -1, None])
def test_take(layout, axis):
    a = LAYOUTS[layout](values_of((3, 4, 5), mx.float32))
    x = to_numpy(a)
    for shape in [(), (6,), (2, 3), (0,), (2, 0)]:
        index = RNG.integers(-3, 3, shape)
        assert_close(
            mx.take(a, mx.array(index, dtype=mx.int32), axis=axis), np.take(x, index, axis=axis)
        )
    for i in (0, -1, 2):
        assert_close(mx.take(a, i, axis=axis), np.take(x, i, axis=axis))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_along_axis(layout, axis):
    a = LAYOUTS[layout](values_of((4, 6), mx.float32))
    x = to_numpy(a)
    shape = [4, 6]
    shape[axis] = 3
    index = RNG.integers(-4, 4, shape)
    i = mx.array(index, dtype=mx.int32)
    assert_close(mx.take_along_axis(a, i, axis), np.take_along_axis(x, index, axis))
    # Without repetitions: NumPy says nothing about them.
    order = np.argsort(RNG.random((4, 6)), axis)
    update = values_of((4, 6), mx.float32)
    y = x.copy()
    np.put_along_axis(y, order, to_numpy(update), axis)
    assert_close(mx.put_along_axis(a, mx.array(order, dtype=mx.uint32), update, axis), y)


def test_along_the_flattened_array():
    a = mx.arange(6).reshape(2, 3)
    assert mx.take_along_axis(a, mx.array([1, 5]), None).tolist() == [1, 5]
    assert mx.put_along_axis(a, mx.array([1, 5]), mx.array([7, 8])).tolist() == [
        [0, 7, 2],
        [3, 4, 8],
    ]
    assert mx.put_along_axis(a, mx.array([[1], [5]]), 9).tolist() == [[0, 9, 2], [3, 4, 9]]


def test_lines_are_broadcast():
    a = mx.arange(12).reshape(3, 4)
    x = to_numpy(a)
    one = mx.array([[1, 0]])
    assert_close(mx.take_along_axis(a, one, 1), x[:, [1, 0]])
    assert_close(mx.take_along_axis(a[:1], mx.array([[0], [2], [3]]), 1), x[:1, [0, 2, 3]].T)
    assert mx.put_along_axis(a, one, mx.array(0), 1)[:, :2].tolist() == [[0, 0]] * 3


def test_many_dimensions():
    x = RNG.integers(0, 99, (2,) * 11)
    a = mx.array(x).transpose(*range(10, -1, -1))
    x = x.transpose()
    index = RNG.integers(-2, 2, (3, 2))
    i = mx.array(index)
    assert_close(a[:, i], x[:, index])
    assert_close(a[i, :, i], x[index, :, index])
    assert_close(mx.take(a, i, axis=6), np.take(x, index, axis=6))
    order = RNG.integers(0, 2, x.shape)
    assert_close(mx.take_along_axis(a, mx.array(order), 4), np.take_along_axis(x, order, 4))
    b, y = mx.array(a), x.copy()
    b[i, :, 1] = 7
    y[index, :, 1] = 7
    assert_close(b, y)
    total = np.zeros(x.shape, np.int64)
    np.add.at(total, (slice(None), index), x[:, index])
    assert_close(mx.zeros(x.shape, mx.int64).at[:, i].add(a[:, i]), total)


def test_up_to_eight_arrays():
    x = RNG.integers(0, 99, (2,) * 9)
    a = mx.array(x)
    index = [RNG.integers(-2, 2, (5,)) for _ in range(9)]
    ours = [mx.array(i) for i in index]
    assert_close(a[tuple(ours[:8])], x[tuple(index[:8])])
    b, y = a * 0, x * 0
    np.add.at(y, tuple(index[:8]), 1)
    assert_close(b.at[tuple(ours[:8])].add(1), y)
    with pytest.raises(ValueError, match="gather"):
        a[tuple(ours)]


FAR = [-(2**31), -9, -4, 3, 100, 2**31 - 1]


@pytest.mark.parametrize("dtype", INDEX_DTYPES, ids=name_of)
def test_reads_out_of_range_give_the_nearest_element(dtype):
    limits = mx.iinfo(dtype)
    index = [i for i in [*FAR, limits.min, limits.max] if limits.min <= i <= limits.max]
    i = mx.array(np.array(index, NUMPY[dtype]))
    expected = [10 if n <= 0 else 30 for n in index]
    a = mx.array([10, 20, 30])
    assert a[i].tolist() == expected
    assert mx.take(a, i).tolist() == expected
    assert mx.take_along_axis(a, i, 0).tolist() == expected


@pytest.mark.parametrize("dtype", INDEX_DTYPES, ids=name_of)
def test_writes_out_of_range_are_dropped(dtype):
    limits = mx.iinfo(dtype)
    index = [
        i
        for i in [*FAR, limits.min, limits.max]
        if limits.min <= i <= limits.max and i not in (0, 1, 2, -1, -2, -3)
    ]
    i = mx.array(np.array(index + [1], NUMPY[dtype]))
    a = mx.array([10, 20, 30])
    b = mx.array(a)
    b[i] = 7
    assert b.tolist() == [10, 7, 30]
    assert mx.put_along_axis(a, i, 7, 0).tolist() == [10, 7, 30]
    assert a.at[i].add(1).tolist() == [10, 21, 30]
    assert a.at[i, None].maximum(100).tolist() == [10, 100, 30]


def test_integers_of_python_are_checked():
    a = mx.zeros((3, 2))
    for index in [3, -4, [0, 3], np.array([-4]), (slice(None), [2]), (0, [-3])]:
        with pytest.raises(IndexError, match="out of range"):
            a[index]
        with pytest.raises(IndexError, match="out of range"):
            a[index] = 1
        with pytest.raises(IndexError, match="out of range"):
            a.at[index].add(1)
    with pytest.raises(IndexError, match="out of range"):
        mx.take(a, 6)


def test_the_last_of_several_values_stays(on_cpu):
    a = mx.zeros((4,))
    for n in (3, 300, 100_000):
        index = RNG.integers(0, 4, n)
        value = RNG.random(n).astype(np.float32)
        b, x = mx.array(a), np.zeros(4, np.float32)
        b[mx.array(index)] = mx.array(value)
        x[index] = value
        assert_close(b, x)


@pytest.mark.parametrize("rows, columns", [(5, 1), (200_000, 1), (5000, 64), (300, 40), (3, 4000)])
def test_sums_are_taken_in_order(on_cpu, rows, columns):
    """Bit for bit: each element gets its updates one after the other, on any number of threads."""
    index = RNG.integers(0, rows, 100_000 // columns + 50)
    update = RNG.random((index.size, columns)).astype(np.float32)
    x = np.zeros((rows, columns), np.float32)
    np.add.at(x, index, update)
    result = mx.zeros((rows, columns)).at[mx.array(index)].add(mx.array(update))
    np.testing.assert_array_equal(to_numpy(result), x)


def test_sums_along_an_axis_are_taken_in_order(on_cpu):
    for axis, shape in itertools.product([0, 1], [(300, 200), (2, 30_000), (30_000, 2)]):
        index = RNG.integers(0, shape[axis], shape)
        update = RNG.random(shape).astype(np.float32)
        x = np.zeros(shape, np.float32)
        lines = np.indices(shape)
        lines[axis] = index
        np.add.at(x, tuple(lines), update)
        a = mx.array(np.zeros(shape, np.float32))
        other = mx.arange(shape[1 - axis])
        where = (mx.array(index), other) if axis == 0 else (other[:, None], mx.array(index))
        np.testing.assert_array_equal(to_numpy(a.at[where].add(mx.array(update))), x)


def test_slices_that_arrays_place():
    a = mx.arange(24).reshape(2, 3, 4)
    x = to_numpy(a)
    for start in itertools.product([-9, -3, -2, 0, 1, 2, 5], repeat=2):
        first = [
            min(max(s + n if s < 0 else s, 0), n - k) for s, n, k in zip(start, (3, 4), (2, 3))
        ]
        where = np.s_[:, first[0] : first[0] + 2, first[1] : first[1] + 3]
        i = mx.array(start)
        assert_close(mx.slice(a, i, (1, -1), (2, 2, 3)), x[where])
        y = x.copy()
        y[where] = 100
        assert_close(mx.slice_update(a, mx.full((2, 2, 3), 100), i, (1, 2)), y)
    assert mx.slice(a, mx.array(1), (0,), (1, 1, 2)).tolist() == [[[12, 13]]]
    assert mx.slice_update(a, mx.array([7]), mx.array([1]), (0,))[1, 0].tolist() == [7, 13, 14, 15]


def test_masked_scatter():
    a = mx.arange(6).reshape(2, 3)
    mask = a % 2 == 1
    assert mx.masked_scatter(a, mask, mx.array([7, 8, 9])).tolist() == [[0, 7, 2], [8, 4, 9]]
    assert mx.masked_scatter(a, mask, mx.array(-1)).tolist() == [[0, -1, 2], [-1, 4, -1]]
    assert mx.masked_scatter(a, mask, mx.array([7, 8])).tolist() == [[0, 7, 2], [8, 4, 5]]
    assert mx.masked_scatter(a, mask, mx.arange(10, 20)).tolist() == [[0, 10, 2], [11, 4, 12]]
    rows = mx.array([False, True])
    assert mx.masked_scatter(a, rows, mx.array([[7, 8, 9]])).tolist() == [[0, 1, 2], [7, 8, 9]]


def test_masks_in_compiled_functions():
    @mx.compile
    def function(a, v):
        a[a > 1] = v
        return a

    assert function(mx.arange(4), mx.array([7, 8])).tolist() == [0, 1, 7, 8]


GROWING = 64


def test_a_cache_is_overwritten(memory, on_cpu):
    """A token at a time, at a place that an array says: nothing but the token is allocated."""
    cache = mx.zeros((2, GROWING, 256))
    tokens = [mx.full((2, 1, 256), float(i)) for i in range(GROWING)]
    places = [mx.array([i]) for i in range(GROWING)]
    mx.eval(cache, *tokens, *places)
    for write in (
        lambda a, i: mx.slice_update(a, tokens[i], places[i], (1,)),
        lambda a, i: mx.put_along_axis(
            a, mx.broadcast_to(places[i][:, None], (2, 1, 256)), tokens[i], 1
        ),
        lambda a, i: assigned(a, (slice(None), places[i]), tokens[i]),
        lambda a, i: a.at[:, places[i]].add(tokens[i]),
    ):
        mx.eval(write(cache * 1, 0))  # what is needed once is there
        active = mx.get_active_memory()
        mx.reset_peak_memory()
        for i in range(GROWING):
            cache = write(cache, i)
            assert sum(step.allocated_bytes for step in mx.plan(cache).steps) == 0
            mx.eval(cache)
        assert mx.get_peak_memory() == active
        assert mx.get_active_memory() == active
    assert cache[:, :, 0].tolist() == [[2.0 * i for i in range(GROWING)]] * 2


def assigned(a, index, value):
    a[index] = value
    return a


def test_what_is_held_is_not_overwritten():
    a = mx.zeros((4,))
    mx.eval(a)
    b = a.at[mx.array([1])].add(1)
    assert b.tolist() == [0, 1, 0, 0] and a.tolist() == [0] * 4


def test_an_array_indexed_by_itself():
    """The array is read as indices while it is written."""
    x = np.array([1, 2, 3, 0, 2], np.int32)
    a = mx.array(x) + 0
    a = a.at[a].add(a)
    y = x.copy()
    np.add.at(y, x, x)
    assert a.tolist() == y.tolist()
    b = mx.array(x) + 0
    b = mx.put_along_axis(b, b, b, 0)
    y = x.copy()
    y[x] = x
    assert b.tolist() == y.tolist()


def test_empty():
    a = mx.zeros((0, 3))
    none = mx.array([], dtype=mx.int32)
    assert a[none].shape == (0, 3) and a[:, mx.array([0, 1])].shape == (0, 2)
    assert mx.take(a, none, axis=0).shape == (0, 3)
    assert mx.take_along_axis(a, mx.zeros((0, 3), mx.int32), 0).shape == (0, 3)
    b = mx.ones((2, 3))
    b[none] = 5
    assert b.at[none].add(1).tolist() == [[1] * 3] * 2
    with pytest.raises(IndexError):
        a[mx.array([0])]
    with pytest.raises(IndexError):
        mx.take(a, mx.array([0]), axis=0)


def test_nonzero_and_argwhere():
    for shape in [(7,), (3, 4), (2, 3, 2), (0, 3)]:
        x = RNG.integers(0, 3, shape) * (RNG.random(shape) < 0.5)
        a = mx.array(x)
        for ours, theirs in zip(mx.nonzero(a), np.nonzero(x), strict=True):
            assert ours.dtype == mx.int32
            assert_close(ours, theirs)
        assert_close(mx.argwhere(a), np.argwhere(x))
        mask = a > 0
        assert_close(a[mask], x[x > 0])
    assert mx.argwhere(mx.array(3)).shape == (1, 0) and mx.argwhere(mx.array(0)).shape == (0, 0)
    with pytest.raises(ValueError):
        mx.nonzero(mx.array(1))


def test_bincount():
    x = RNG.integers(0, 9, 50)
    weights = RNG.random(50).astype(np.float32)
    for dtype in (mx.int32, mx.uint8, mx.int64):
        a = mx.array(x, dtype=dtype)
        assert_close(mx.bincount(a), np.bincount(x))
        assert_close(mx.bincount(a, minlength=20), np.bincount(x, minlength=20))
        assert_close(mx.bincount(a, mx.array(weights)), np.bincount(x, weights), scale=10)
    assert mx.bincount(mx.array([], dtype=mx.int32)).shape == (0,)
    assert mx.bincount(mx.array([True, False, True])).tolist() == [1, 2]
    gradient = mx.grad(lambda w: mx.sum(mx.bincount(mx.array(x), w) ** 2))(mx.array(weights))
    assert_close(gradient, 2 * np.bincount(x, weights)[x], scale=100)


HISTOGRAMS = [{}, {"density": True}, {"range": (0.5, 3.0)}, {"weights": True}]


@pytest.mark.parametrize("bins", [1, 10, [0.0, 1.0, 1.5, 4.0], [1, 1, 2]], ids=str)
@pytest.mark.parametrize("options", HISTOGRAMS, ids=str)
def test_histogram(bins, options):
    floats, integers = RNG.random(200).astype(np.float32) * 5, RNG.integers(0, 5, (20, 5))
    for x in (floats, integers, np.ones(3, np.float32)):
        ours, theirs = dict(options), dict(options)
        if "weights" in options:
            theirs["weights"] = RNG.random(x.shape).astype(np.float32)
            ours["weights"] = mx.array(theirs["weights"])
        counts, edges = mx.histogram(mx.array(x), bins, **ours)
        with np.errstate(invalid="ignore", divide="ignore"):
            expected, expected_edges = np.histogram(x, bins, **theirs)
        assert_close(edges, expected_edges.astype(np.float32))
        dtype = np.int32 if counts.dtype == mx.int32 else np.float32
        assert_close(counts, expected.astype(dtype), scale=20)


def test_histogram_refuses():
    a = mx.array([1.0, 2.0])
    for call in (
        lambda: mx.histogram(a, 0),
        lambda: mx.histogram(a, 2**31),
        lambda: mx.histogram(a, [2.0, 1.0]),
        lambda: mx.histogram(a, [1.0]),
        lambda: mx.histogram(a, range=(2.0, 1.0)),
        lambda: mx.histogram(mx.array([mx.inf])),
        lambda: mx.histogram(mx.array([1j])),
        lambda: mx.histogram(a, weights=mx.array([1.0])),
    ):
        with pytest.raises(ValueError, match=r"\[histogram\]"):
            call()
