"""Random index expressions, read and written, against NumPy."""

import random

import narrows.core as mx
import numpy as np
import pytest
from support import to_numpy

EXPRESSIONS = 150  # for each seed
SEEDS = range(30)
UPDATES = ["add", "subtract", "multiply", "divide", "minimum", "maximum"]
INDEX_DTYPES = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]


def as_given(values, rng, may_be_wrong):
    """An array of indices as a list, an array of NumPy, or an array; of any integer dtype."""
    kind = rng.choice(["list", "numpy", "array", "array"])
    if kind == "list" and values.size > 0:
        return values.tolist()
    if values.dtype != bool and (values.size == 0 or values.min() >= 0):
        values = values.astype(rng.choice(INDEX_DTYPES))
    elif values.dtype != bool:
        values = values.astype(rng.choice(INDEX_DTYPES[:4]))
    # Integers out of range are an error where they are there.
    return values if kind == "numpy" or may_be_wrong else mx.array(values)


def random_item(shape, axis, kinds, rng, positions, mistakes):
    """An item for the axis, the same for NumPy, and how many axes it is about."""
    kind = rng.choice(kinds)
    n = shape[axis] if axis < len(shape) else 0
    if kind == "mask":
        ndim = rng.randint(0, min(len(shape) - axis, 2))
        random_numbers = np.random.default_rng(rng.randint(0, 99))
        mask = np.array(random_numbers.random(shape[axis : axis + ndim]) < 0.5)
        return bool(mask) if ndim == 0 else as_given(mask, rng, False), mask, ndim
    if kind == "slice" or n == 0:
        bounds = [rng.choice([None, rng.randint(-n - 2, n + 2)]) for _ in range(2)]
        item = slice(*bounds, rng.choice([None, 1, 2, -1, -2, 3]))
        return item, item, 1
    wrong = mistakes and rng.random() < 0.1
    low, high = (-n - 2, n + 1) if wrong else (-n, n - 1)
    if kind == "integer":
        item = rng.randint(low, high)
        return item, item, 1
    size = [1 if rng.random() < 0.2 else p for p in positions[rng.randint(0, 2) :]]
    random_numbers = np.random.default_rng(rng.randint(0, 10**6))
    values = np.asarray(random_numbers.integers(low, high + 1, size))
    return as_given(values, rng, wrong), values, 1


def random_index(shape, rng, mistakes):
    """Items for an array of this shape, and the same for NumPy."""
    items = []
    positions = [rng.randint(0, 3) for _ in range(rng.randint(0, 2))]
    kinds = ["integer", "slice", "array", "array"] + (["mask"] if rng.random() < 0.3 else [])
    axis, stop = 0, rng.randint(0, len(shape))
    while axis < stop:
        ours, theirs, axes = random_item(shape, axis, kinds, rng, positions, mistakes)
        items.append((ours, theirs))
        axis += axes
    if rng.random() < 0.4:
        # Behind the ellipsis every axis has an item.
        items.append((..., ...))
        axis = rng.randint(axis, len(shape))
        while axis < len(shape):
            ours, theirs, axes = random_item(shape, axis, kinds, rng, positions, mistakes)
            items.append((ours, theirs))
            axis += axes
    while rng.random() < 0.2:
        items.insert(rng.randint(0, len(items)), (None, None))
    if len(items) == 1 and rng.random() < 0.5:
        return items[0]
    return tuple(ours for ours, _ in items), tuple(theirs for _, theirs in items)


def random_array(rng, dtype=np.float32):
    shape = [rng.choice([0, 1, 2, 3, 4, 5] if rng.random() < 0.2 else [1, 2, 3, 4, 5])
             for _ in range(rng.randint(0, 4))]  # fmt: skip
    values = np.random.default_rng(rng.randint(0, 10**6)).integers(-9, 10, shape)
    x = np.asarray(values, dtype=dtype)
    axes = list(range(x.ndim))
    rng.shuffle(axes)
    return x, axes


def both(x, axes):
    """The array, with its dimensions in memory in another order."""
    inverse = [int(i) for i in np.argsort(axes)]
    return mx.transpose(mx.array(np.transpose(x, axes)), inverse) if axes else mx.array(x)


def outcome(function, *args):
    try:
        return function(*args), None
    except (IndexError, ValueError, TypeError) as error:
        return None, error


def read(target, index):
    return target[index]


def assign(target, index, value):
    target[index] = value


@pytest.mark.parametrize("seed", SEEDS)
def test_reading(seed):
    rng = random.Random(seed)
    for _ in range(EXPRESSIONS):
        x, axes = random_array(rng)
        ours, theirs = random_index(x.shape, rng, mistakes=True)
        a = both(x, axes)
        expected, refused = outcome(read, x, theirs)
        result, error = outcome(read, a, ours)
        where = f"{x.shape} {theirs}"
        if refused is None and isinstance(error, IndexError) and np.size(expected) == 0:
            continue  # NumPy does not look at indices that select nothing
        assert (error is None) == (refused is None), f"{where}: {error} {refused}"
        if error is None:
            assert result.shape == np.shape(expected), where
            np.testing.assert_array_equal(to_numpy(result), expected, err_msg=where)


def random_value(shape, rng):
    """What broadcasts to the shape; sometimes with dimensions of size 1 in front."""
    shape = [1 if rng.random() < 0.2 else n for n in shape]
    shape = shape[rng.randint(0, len(shape)) :] if rng.random() < 0.3 else shape
    shape = [1] + shape if shape and rng.random() < 0.1 else shape
    random_numbers = np.random.default_rng(rng.randint(0, 10**6))
    return np.asarray(random_numbers.integers(1, 9, shape), np.float32)


@pytest.mark.parametrize("seed", SEEDS)
def test_assignment(seed, on_cpu):
    """Of several values for one element the last one stays, on the CPU."""
    rng = random.Random(1000 + seed)
    for _ in range(EXPRESSIONS):
        x, axes = random_array(rng)
        ours, theirs = random_index(x.shape, rng, mistakes=True)
        a = both(x, axes)
        selected, refused = outcome(read, x, theirs)
        value = random_value(np.shape(selected) if refused is None else (2,), rng)
        expected = x.copy()

        _, refused = outcome(assign, expected, theirs, value)
        _, error = outcome(assign, a, ours, mx.array(value))
        where = f"{x.shape} {theirs} = {value.shape}"
        if refused is None and isinstance(error, IndexError) and np.size(selected) == 0:
            continue
        if error is None and "requires a 0 or 1-dimensional input" in str(refused):
            continue  # NumPy drops no dimensions of what is assigned by a mask
        assert (error is None) == (refused is None), f"{where}: {error} {refused}"
        if error is None:
            assert a.shape == x.shape, where
            np.testing.assert_array_equal(to_numpy(a), expected, err_msg=where)


@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize("seed", SEEDS[:10])
def test_updates(name, seed):
    rng = random.Random(2000 + seed)
    for _ in range(EXPRESSIONS // 3):
        x, axes = random_array(rng)
        ours, theirs = random_index(x.shape, rng, mistakes=False)
        selected, refused = outcome(read, x, theirs)
        if refused is not None:
            continue
        value = random_value(np.shape(selected), rng)
        value = value if value.ndim <= np.ndim(selected) else value[0]  # NumPy's at() wants that
        expected = x.copy()
        getattr(np, name).at(expected, theirs, value)
        result = getattr(both(x, axes).at[ours], name)(mx.array(value))
        where = f"{x.shape} {theirs} {value.shape}"
        np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-5, err_msg=where)
