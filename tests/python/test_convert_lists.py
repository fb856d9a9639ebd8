"""Nested lists of numbers and arrays of any library, and sizes that do not fit."""

import narrows.core as mx
import numpy as np
import pytest
from exporters import Method


def test_lists_of_anything():
    x, y = mx.array([1]), mx.array([2.0])
    a = mx.array([[x, [2.0]], [[3.0], y]])
    assert a.dtype == mx.float32 and a.tolist() == [[[1], [2]], [[3], [2]]]
    b = mx.array(
        [[[1, 2], np.array([3, 4])], mx.array([[5, 6], [7, 8]]), np.arange(4).reshape(2, 2)]
    )
    assert b.dtype == mx.int64 and b.tolist() == [
        [[1, 2], [3, 4]],
        [[5, 6], [7, 8]],
        [[0, 1], [2, 3]],
    ]
    assert mx.array([1, np.float32(1.5), mx.array(2), np.int8(3)]).tolist() == [1, 1.5, 2, 3]
    borrowed = mx.from_dlpack(np.arange(2))
    assert mx.array([borrowed, [5, 6]]).tolist() == [[0, 1], [5, 6]]
    assert mx.array([x, (4,), np.array([5], "u1")]).tolist() == [[1], [4], [5]]
    assert mx.array([np.zeros((0, 2)), mx.zeros((0, 2))]).shape == (2, 0, 2)
    assert mx.array([[x, [300]]], mx.float16).tolist() == [[[1], [300]]]
    assert mx.array([np.array([300])], mx.uint8).tolist() == [[44]]  # a cast, as astype()
    with pytest.raises(ValueError, match="fit"):
        mx.array([x, [300]], mx.uint8)


@pytest.mark.parametrize(
    "ragged",
    [
        lambda x: [x, 1],
        lambda x: [1, x],
        lambda x: [[1, 2], x],
        lambda x: [x, [1, 2]],
        lambda x: [x, [[1]]],
        lambda x: [[x], x],
        lambda x: [x, mx.zeros((2,))],
        lambda x: [x, np.zeros((1, 1))],
    ],
)
def test_ragged_lists(ragged):
    for x in [mx.array([1]), np.array([1])]:
        with pytest.raises(ValueError, match="ragged"):
            mx.array(ragged(x))


def test_gradients_go_through_lists():
    def f(x):
        return (mx.array([[x, [2.0]], [[3.0], x * x]]) ** 2).sum()

    assert mx.grad(f)(mx.array([3.0])).tolist() == [6 + 4 * 27]


@pytest.mark.parametrize("change", ["clear", "append", "pop", "nest"])
def test_lists_that_change_while_they_are_read(change):
    rows = [[1, 2], [3, 4], [5, 6]]

    def make():
        actions = {
            "clear": lambda: (
                [row.clear() for row in rows[1:] if isinstance(row, list)] + [rows.clear()]
            ),
            "append": lambda: rows.append([7, 8]),
            "pop": lambda: rows.pop(),
            "nest": lambda: rows.__setitem__(2, [[1], [2]]),
        }
        actions[change]()
        return np.array([3, 4])

    rows[1] = Method(make)
    with pytest.raises(ValueError, match=r"\[array\]"):
        mx.array(rows)


def test_lists_that_change_while_their_shape_is_asked_for():
    rows = [None, [1, 2]]
    rows[0] = Method(lambda: rows.append([3, 4]) or np.array([0, 0]))
    with pytest.raises(ValueError, match=r"\[array\]"):
        mx.array(rows)


SIZES = [
    lambda n: mx.zeros(n),
    lambda n: mx.zeros((n,)),
    lambda n: mx.full((2, n), 1),
    lambda n: mx.ones([n, 0]),
    lambda n: mx.reshape(mx.ones((1,)), (n,)),
    lambda n: mx.ones((1,)).reshape(n),
    lambda n: mx.broadcast_to(mx.ones((1,)), (n,)),
    lambda n: mx.tile(mx.ones((1,)), n),
    lambda n: mx.random.uniform(shape=(n,)),
    lambda n: mx.random.bernoulli(0.5, shape=(n,)),
]


@pytest.mark.parametrize("make", SIZES)
def test_sizes_beyond_64_bits(make):
    for n in [2**63, 2**70, -(2**70), 10**5000]:
        with pytest.raises(OverflowError, match="64 bits"):
            make(n)


def test_shapes_of_others_that_do_not_fit():
    x = np.broadcast_to(np.ones(1, np.float32), (2**40, 2**20))
    with pytest.raises(OverflowError, match="memory"):
        mx.array(x)
    with pytest.raises(MemoryError):
        mx.array(x[:, 0])
