"""Bad input raises the right class, names the operation, and leaves the counters alone."""

import narrows.core as mx
import numpy as np
import pytest

A = mx.ones((2, 3))
CASES = [
    (lambda: mx.zeros((2, -1)), ValueError, "[full]"),
    (lambda: mx.zeros((1 << 40, 1 << 40)), ValueError, "[full]"),
    (lambda: mx.zeros(2.5), TypeError, "zeros"),
    (lambda: mx.zeros((2,), "float32"), TypeError, "zeros"),
    (lambda: mx.full((2, 2), mx.array([1, 2, 3])), ValueError, "["),
    (lambda: mx.arange(0, 1, 0), ValueError, "[arange]"),
    (lambda: mx.arange(float("nan")), ValueError, "[arange]"),
    (lambda: mx.arange("a"), TypeError, "[arange]"),
    (lambda: mx.arange(True), ValueError, "[arange]"),
    (lambda: mx.linspace(0, 1, -5), ValueError, "[linspace]"),
    (lambda: mx.tril(mx.ones((2,))), ValueError, "[tril]"),
    (lambda: mx.add(A, mx.ones((2, 2))), ValueError, "[add]"),
    (lambda: mx.add(A), TypeError, "add"),
    (lambda: mx.add(A, 1, 2), TypeError, "add"),
    (lambda: mx.add(A, 1, stream=3), TypeError, "add"),
    (lambda: A & 1, ValueError, "[bitwise_and]"),
    (lambda: A << 1, ValueError, "[left_shift]"),
    (lambda: -mx.array([True]), ValueError, "[negative]"),
    (lambda: mx.sum(A, axis=2), IndexError, "[sum]"),
    (lambda: mx.sum(A, axis=(0, 0)), ValueError, "[sum]"),
    (lambda: mx.sum(A, axis=1.5), TypeError, "sum"),
    (lambda: mx.sum(np.ones(2)), TypeError, "sum"),
    (lambda: mx.max(mx.zeros((0,))), ValueError, "[max]"),
    (lambda: mx.argmax(mx.zeros((0,))), ValueError, "[argmax]"),
    (lambda: mx.argmax(A, axis=3), IndexError, "[argmax]"),
    (lambda: mx.cumsum(A, axis=5), IndexError, "[cumsum]"),
    (lambda: mx.softmax(A, axis=3), IndexError, "[softmax]"),
    (lambda: mx.reshape(A, (4,)), ValueError, "[reshape]"),
    (lambda: mx.reshape(A, (-1, -1)), ValueError, "[reshape]"),
    (lambda: A.reshape("a"), TypeError, "[reshape]"),
    (lambda: mx.transpose(A, (0, 0)), ValueError, "[transpose]"),
    (lambda: mx.transpose(A, (0,)), ValueError, "[transpose]"),
    (lambda: mx.squeeze(A, 0), ValueError, "[squeeze]"),
    (lambda: mx.expand_dims(A, 9), IndexError, "[expand_dims]"),
    (lambda: mx.swapaxes(A, 0, 5), IndexError, "[swapaxes]"),
    (lambda: mx.moveaxis(A, 0, 5), IndexError, "[moveaxis]"),
    (lambda: mx.flatten(A, 1, 0), ValueError, "[flatten]"),
    (lambda: mx.split(A, 2, axis=1), ValueError, "[split]"),
    (lambda: mx.split(A, "a"), TypeError, "[split]"),
    (lambda: mx.broadcast_to(A, (4, 2)), ValueError, "[broadcast_to]"),
    (lambda: mx.broadcast_shapes((2,), "a"), TypeError, "[broadcast_shapes]"),
    (lambda: mx.array(1).__format__(3), TypeError, "__format__"),
    (lambda: mx.concatenate([A, mx.ones((2,))]), ValueError, "[concatenate]"),
    (lambda: mx.concatenate([]), ValueError, "[concatenate]"),
    (lambda: mx.stack([A, mx.ones((2,))]), ValueError, "[stack]"),
    (lambda: mx.pad(A, -1), ValueError, "[pad]"),
    (lambda: mx.pad(A, "a"), TypeError, "[pad]"),
    (lambda: mx.pad(A, 1, mode="wrong"), ValueError, "[pad]"),
    (lambda: mx.tile(A, -1), ValueError, "[tile]"),
    (lambda: mx.repeat(A, -1), ValueError, "[repeat]"),
    (lambda: A @ A, ValueError, "[matmul]"),
    (lambda: A @ 1, TypeError, "matmul"),
    (lambda: mx.matmul(mx.array([1]), mx.array([1])), ValueError, "[matmul]"),
    (lambda: mx.tensordot(A, A, axes="a"), TypeError, "[tensordot]"),
    (lambda: mx.clip(A, None, None), ValueError, "[clip]"),
    (lambda: mx.view(mx.zeros((2, 3), mx.int8), mx.int32), ValueError, "[view]"),
    (lambda: A[5], IndexError, "[index]"),
    (lambda: A[0, 0, 0], ValueError, "[index]"),
    (lambda: A[..., ...], ValueError, "[index]"),
    (lambda: A[::0], ValueError, "[index]"),
    (lambda: A["a"], ValueError, "[index]"),
    (lambda: A[1.5], ValueError, "[index]"),
    (lambda: A[mx.array([0, 1])], ValueError, "[index]"),
    (lambda: A[A > 0], ValueError, "[index]"),
    (lambda: A.astype("float32"), TypeError, "astype"),
    (lambda: mx.random.uniform(shape=(2, -1)), ValueError, "["),
    (lambda: mx.random.uniform(shape=(2,), dtype=mx.int32), ValueError, "[uniform]"),
    (lambda: mx.random.randint(0, 5, (2,), mx.float32), ValueError, "[randint]"),
    (lambda: mx.random.split(A), ValueError, "["),
    (lambda: mx.random.state[1], IndexError, "[random]"),
    (lambda: mx.stream(None), TypeError, "stream"),
]


@pytest.mark.parametrize("call, error, message", CASES, ids=range(len(CASES)))
def test_bad_input(call, error, message):
    mx.eval(A)
    active = mx.get_active_memory()
    with pytest.raises(error) as raised:
        call()
    assert type(raised.value) is error and message in str(raised.value)
    del raised
    assert mx.get_active_memory() <= active
    assert A.tolist() == [[1, 1, 1], [1, 1, 1]]
