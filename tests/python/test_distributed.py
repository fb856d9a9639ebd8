"""Groups of one process: collectives give back what they are given."""

import narrows.core as mx
import numpy as np
import pytest
from support import DTYPES, name_of

distributed = mx.distributed


def test_group():
    group = distributed.init()
    assert (group.rank(), group.size()) == (0, 1)
    assert distributed.is_available() == distributed.is_available("mpi")
    assert not distributed.is_available("ring") and not distributed.is_available("udp")


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
@pytest.mark.parametrize("name", ["all_sum", "all_max", "all_min", "all_gather", "sum_scatter"])
def test_collectives_are_identities(name, shape, dtype):
    x = mx.ones(shape).astype(dtype)
    y = getattr(distributed, name)(x, group=distributed.init(), stream=mx.cpu)
    assert y.dtype == dtype and y.shape == shape and mx.array_equal(x, y).item()


def test_numbers_become_arrays():
    assert distributed.all_sum(3).item() == 3
    assert distributed.all_max(np.array([1.5], np.float32)).tolist() == [1.5]


def test_collectives_have_gradients():
    x = mx.array([1.0, 2.0])
    assert mx.grad(lambda x: mx.square(distributed.all_sum(x)).sum())(x).tolist() == [2.0, 4.0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: distributed.init(backend="udp"), ValueError, "[init] backend 'udp', expected"),
        (lambda: distributed.init(timeout=0), ValueError, "[init] a timeout of 0 s, expected more"),
        (lambda: distributed.init().split(-1), ValueError, "[split] color -1, expected 0 or more"),
        (lambda: distributed.init(strict=True), RuntimeError, "[init] strict, with backend 'any'"),
        (
            lambda: distributed.init().split(2),
            RuntimeError,
            "[split] a group of one process",
        ),
        (lambda: distributed.send(mx.ones(2), 1), ValueError, "[send] to rank 1 of a group of one"),
        (lambda: distributed.recv((2,), mx.int8, 3), ValueError, "[recv] from rank 3 of a group"),
        (lambda: distributed.recv_like(mx.ones(2), 0), ValueError, "[recv] from rank 0 of a group"),
        (
            lambda: distributed.all_sum(1, group=2),
            TypeError,
            "[all_sum] group of type int",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value).startswith(message)
