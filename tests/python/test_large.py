"""Arrays of more than 2^31 elements, and of more than 2^32 bytes, on a GPU with memory for them.

The same cases run with small arrays everywhere, so that what they expect is right.
"""

import gc

import narrows.core as mx
import numpy as np
import pytest

SMALL = 96
LARGE = 46342  # its square is more than 2^31
PERIOD = 251
MEMORY = 100 << 30  # bytes that the largest cases need


def has_room():
    if mx.default_device() != mx.gpu:
        return False
    return mx.device_info(mx.gpu).get("memory_size", 0) >= MEMORY


needs_room = pytest.mark.skipif(not has_room(), reason="needs a GPU with 100 GB")


@pytest.fixture(params=[SMALL, pytest.param(LARGE, marks=needs_room)])
def side(request):
    yield request.param
    gc.collect()
    mx.clear_cache()


def count_of(side):
    return side * (side + 1)


def numbers(side, dtype=mx.uint8):
    """A matrix of more columns than rows, whose elements are their numbers modulo PERIOD."""
    count = mx.arange(count_of(side), dtype=mx.int64)
    return (count % PERIOD).astype(dtype).reshape(side, side + 1)


def expected(places):
    return np.asarray(places, np.int64) % PERIOD


def places_of(side):
    """Numbers of elements: the first, the last, and those around 2^31 and 2^32 bytes."""
    last = count_of(side) - 1
    around = [2**k + d for k in (29, 30, 31, 32) for d in (-1, 0, 1)]
    return sorted({0, 1, last // 2, last - 1, last, *(place for place in around if place < last)})


def at(a, places):
    """Elements of a flat array, one by one: each is a view at some offset."""
    flat = a.reshape(-1)
    return np.array([flat[place : place + 1].item() for place in places])


def check(a, side, function=lambda x: x):
    places = places_of(side)
    np.testing.assert_allclose(at(a, places), function(expected(places)), rtol=2e-3)


@pytest.mark.parametrize("dtype", [mx.uint8, mx.float16, mx.float32])
def test_elementwise(side, dtype):
    check(numbers(side, dtype) + 2, side, lambda x: x + 2)


@pytest.mark.parametrize("dtype", [mx.float16, mx.float32])
def test_fused_and_compiled(side, dtype):
    x = numbers(side, dtype)
    mx.eval(x)
    for _ in range(3):  # from the second time on it may have a kernel of its own
        y = mx.square(x * 0.125) + mx.abs(x - 3)
        check(y, side, lambda x: (x / 8) ** 2 + abs(x - 3))
        del y
        mx.synchronize()


def test_strided(side):
    x = numbers(side)
    turned = mx.contiguous(x.T)
    rows, columns = turned.shape
    places = places_of(side)
    np.testing.assert_array_equal(
        at(turned, places),
        expected([place % columns * rows + place // columns for place in places]),
    )
    last = count_of(side) - 1
    flipped = mx.contiguous(x.reshape(-1)[::-1])
    np.testing.assert_array_equal(at(flipped, places), expected([last - p for p in places]))
    every = x.reshape(-1)[1::3] + 1
    some = [0, every.size // 2, every.size - 1]
    np.testing.assert_array_equal(at(every, some), expected([1 + 3 * p for p in some]) + 1)


def test_broadcast(side):
    rows = mx.arange(side, dtype=mx.int64) % 7
    columns = mx.arange(side + 1, dtype=mx.int64) % 11
    outer = rows.astype(mx.uint8)[:, None] * columns.astype(mx.uint8)
    places = np.array(places_of(side))
    row, column = places // (side + 1), places % (side + 1)
    np.testing.assert_array_equal(at(outer, places), row % 7 * (column % 11))


def test_reductions_to_one(side):
    x = numbers(side)
    count = count_of(side)
    assert mx.sum(x == 7).item() == (count - 8) // PERIOD + 1
    assert mx.max(x).item() == PERIOD - 1
    assert mx.min(x[-1]).item() == 0
    assert mx.sum(mx.ones((side, side + 1), mx.uint8).astype(mx.int64)).item() == count
    assert mx.all(x < PERIOD).item() and not mx.any(x.reshape(-1)[1:] == PERIOD).item()


def test_places_of_extremes(side):
    for place in places_of(side):
        if place < 2**32:
            marked = mx.arange(count_of(side), dtype=mx.int64) == place
            assert mx.argmax(marked.astype(mx.uint8)).item() == place


@pytest.mark.parametrize("axis", [0, 1])
def test_reductions_along_an_axis(side, axis):
    x = numbers(side)
    total = mx.sum(x.astype(mx.int32), axis=axis)
    for i in (0, total.size // 2, total.size - 1):
        along = np.arange(x.shape[axis], dtype=np.int64)
        places = along * (side + 1) + i if axis == 0 else i * (side + 1) + along
        assert total[i].item() == expected(places).sum()


def test_more_rows_than_threadgroups(side):
    pairs = numbers(side, mx.float16).reshape(-1, 2)
    if side == LARGE:
        pairs = mx.concatenate([pairs, pairs, pairs])
    mx.eval(pairs)
    count = pairs.shape[0]
    some = [0, count // 2, count - 2, count - 1]
    left, right = np.array([np.array(pairs[i : i + 1], np.float64)[0] for i in some]).T
    for function, results in [
        (lambda x: mx.sum(x, axis=1), left + right),
        (lambda x: mx.argmax(x, axis=1), right > left),
        (lambda x: mx.logsumexp(x, axis=1), np.logaddexp(left, right)),
        (lambda x: mx.softmax(x, axis=1)[:, 1], 1 / (1 + np.exp(left - right))),
    ]:
        np.testing.assert_allclose(at(function(pairs), some), results, rtol=2e-3)


def test_scans(side):
    ones = mx.ones((count_of(side),), mx.int64)
    sums = mx.cumsum(ones)
    places = places_of(side)
    np.testing.assert_array_equal(at(sums, places), np.array(places) + 1)
    del ones, sums
    rows = mx.cumsum(numbers(side, mx.int32), axis=1)
    assert (
        rows[-1, -1].item() == expected(np.arange(count_of(side) - side - 1, count_of(side))).sum()
    )


def test_gather(side):
    x = numbers(side)
    places = places_of(side)
    found = mx.take(x.reshape(-1), mx.array(places, mx.int64))
    np.testing.assert_array_equal(np.array(found), expected(places))
    rows = mx.take(x, mx.array([side - 1, 0, side // 2]), axis=0)
    np.testing.assert_array_equal(
        np.array(rows[0]), expected(np.arange(count_of(side) - side - 1, count_of(side)))
    )
    many = x[mx.arange(side - 1, -1, -1)]
    np.testing.assert_array_equal(np.array(many[-1]), expected(np.arange(side + 1)))


def test_scatter(side):
    places = places_of(side)
    x = numbers(side, mx.float32).reshape(-1)
    index = mx.array(places, mx.int64)
    x[index] = mx.arange(len(places), dtype=mx.float32)
    np.testing.assert_array_equal(at(x, places), np.arange(len(places)))
    x = x.at[index].add(1)
    np.testing.assert_array_equal(at(x, places), np.arange(len(places)) + 1)
    assert at(x, [5])[0] == 5


def test_joined_and_padded(side):
    x = numbers(side)
    joined = mx.concatenate([x, x], axis=1)
    np.testing.assert_array_equal(np.array(joined[-1, side + 1 :]), np.array(x[-1]))
    padded = mx.pad(x, ((1, 1), (0, 0)), constant_values=9)
    assert padded[-1, -1].item() == 9
    np.testing.assert_array_equal(np.array(padded[-2]), np.array(x[-1]))


@pytest.mark.parametrize("dtype", [mx.float16, mx.float32])
def test_product_with_a_large_result(side, dtype):
    a = (numbers(side, dtype)[:, :64] - 125) * 0.01
    b = (numbers(side, dtype)[:64, :] - 125) * 0.01
    product = a @ b
    left, right = np.array(a.astype(mx.float64)), np.array(b.astype(mx.float64))
    for i in (0, side // 2, side - 1):
        np.testing.assert_allclose(np.array(product[i]), left[i] @ right, atol=0.05)


@pytest.mark.parametrize("dtype", [mx.float16, mx.float32])
def test_product_with_a_large_factor(side, dtype):
    a = (numbers(side, dtype) - 125) * 0.01
    b = (numbers(side, dtype).reshape(-1)[: 8 * (side + 1)].reshape(side + 1, 8) - 125) * 0.01
    mx.eval(a, b)
    product = a @ b
    right = np.array(b.astype(mx.float64))
    for i in (0, side // 2, side - 1):
        row = np.array(a[i].astype(mx.float64)) @ right
        tolerance = 1e-3 if dtype == mx.float16 else 1e-4
        np.testing.assert_allclose(np.array(product[i]), row, rtol=tolerance, atol=0.05)


def test_many_products(side):
    count = count_of(side) // (64 * 64) + 2
    a = (mx.arange(count * 64 * 64, dtype=mx.int64) % PERIOD).astype(mx.float16) * 0.01
    a = a.reshape(count, 64, 64)
    mx.eval(a)
    product = a @ a
    for i in (0, count // 2, count - 1):
        one = np.array(a[i].astype(mx.float64))
        np.testing.assert_allclose(np.array(product[i]), one @ one, rtol=4e-3)


def test_rows_of_neural_networks(side):
    x = (numbers(side, mx.float16) - 125) * 0.03125
    mx.eval(x)
    last = np.array(x[-1].astype(mx.float64))
    softmax = mx.softmax(x, axis=-1)
    weights = np.exp(last)
    np.testing.assert_allclose(np.array(softmax[-1]), weights / weights.sum(), atol=2e-5, rtol=0.02)
    del softmax
    norm = mx.fast.rms_norm(x, mx.ones((side + 1,), mx.float16), 1e-5)
    np.testing.assert_allclose(
        np.array(norm[-1]), last / np.sqrt((last**2).mean() + 1e-5), rtol=0.01, atol=0.01
    )
    del norm
    norm = mx.fast.layer_norm(x, None, None, 1e-5)
    centred = last - last.mean()
    np.testing.assert_allclose(
        np.array(norm[-1]), centred / np.sqrt((centred**2).mean() + 1e-5), rtol=0.01, atol=0.01
    )


def test_draws(side):
    drawn = mx.random.uniform(shape=(side, side + 1), key=mx.random.key(1))
    share = mx.sum(drawn < 0.5).item() / count_of(side)
    assert abs(share - 0.5) < 3 / np.sqrt(count_of(side))
    assert len(np.unique(np.array(drawn[-1]))) > side * 0.99
    assert not np.array_equal(np.array(drawn[-1]), np.array(drawn[0]))


def test_sorted_rows(side):
    x = numbers(side)[: max(64, side // 16)]  # few rows suffice where rows are taken one by one
    rows = mx.sort(x, axis=1)
    np.testing.assert_array_equal(np.array(rows[-1]), np.sort(np.array(x[-1])))


def test_convolution(side):
    images = count_of(side) // (256 * 256 * 4) + 2
    x = (mx.arange(images * 256 * 256 * 4, dtype=mx.int64) % PERIOD).astype(mx.float16)
    x = (x.reshape(images, 256, 256, 4) - 125) * 0.01
    weight = ((mx.arange(4 * 3 * 3 * 4) % 7).astype(mx.float16) - 3).reshape(4, 3, 3, 4)
    mx.eval(x, weight)
    y = mx.conv2d(x, weight, padding=1)
    for i in (0, images - 1):
        one = mx.conv2d(
            mx.array(np.array(x[i : i + 1].astype(mx.float32))),
            mx.array(np.array(weight.astype(mx.float32))),
            padding=1,
            stream=mx.cpu,
        )
        np.testing.assert_allclose(np.array(y[i : i + 1]), np.array(one), atol=0.02, rtol=2e-3)


def test_quantized_product(side):
    outputs = (side + 1) // 32 * 32 + 32
    weight = (mx.arange(outputs * 64, dtype=mx.int64) % PERIOD).astype(mx.float16)
    packed = mx.quantize((weight.reshape(outputs, 64) - 125) * 0.01, group_size=64, bits=4)
    x = (numbers(side, mx.float16)[:, :64] - 125) * 0.01
    y = mx.quantized_matmul(x, *packed, group_size=64, bits=4)
    matrix = np.array(mx.dequantize(*packed, group_size=64, bits=4).astype(mx.float64))
    for i in (0, side - 1):
        row = matrix @ np.array(x[i].astype(mx.float64))
        np.testing.assert_allclose(np.array(y[i]), row, atol=0.05)


def test_attention(side):
    heads = count_of(side) // (1024 * 64) + 1
    q = (mx.arange(heads * 1024 * 64, dtype=mx.int64) % PERIOD).astype(mx.float16)
    q = (q.reshape(1, heads, 1024, 64) - 125) * 0.01
    mx.eval(q)
    y = mx.fast.scaled_dot_product_attention(q, q, q, scale=0.125)
    one = np.array(q[0, -1].astype(mx.float64))
    scores = np.exp(one @ one.T * 0.125)
    scores /= scores.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(np.array(y[0, -1]), scores @ one, atol=0.01)


@pytest.mark.parametrize("dtype", [mx.uint8, mx.float32])
def test_transfers(side, dtype):
    x = numbers(side, dtype)
    there = mx.add(x, 1, stream=mx.cpu)
    check(there, side, lambda x: x + 1)
    back = there - 1
    assert mx.array_equal(back, x).item()
