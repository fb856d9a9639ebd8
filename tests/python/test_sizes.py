"""Sizes that no memory holds: an error before anything is made for them, few nodes, and no time."""

import narrows.core as mx
import pytest

A = mx.ones(3)
M = mx.ones((4, 4))
X, W = mx.ones((1, 3, 1)), mx.ones((1, 2, 1))
KEY = mx.random.key(0)
MOST_NODES = 200


def wide(*shape):
    """Ones that take no memory."""
    return mx.broadcast_to(mx.array(1.0), shape)


CALLS = {
    "arange": lambda n: mx.arange(n),
    "as_strided": lambda n: mx.as_strided(A, (n,), (0,)) + 1,
    "attention": lambda n: mx.fast.scaled_dot_product_attention(
        wide(1, 1, n, 8), wide(1, 1, n, 8), wide(1, 1, n, 8), scale=1.0
    ),
    "bartlett": lambda n: mx.bartlett(n),
    "bincount": lambda n: mx.bincount(mx.array([0, 1]), minlength=n),
    "blackman": lambda n: mx.blackman(n),
    "categorical": lambda n: mx.random.categorical(A, num_samples=n),
    "concatenate": lambda n: mx.concatenate([wide(n), wide(n)]),
    "conv1d, padded": lambda n: mx.conv1d(X, W, padding=n),
    "conv1d, dilated": lambda n: mx.conv1d(X, W, dilation=n),
    "conv_general, dilated": lambda n: mx.conv_general(X, W, input_dilation=n),
    "conv_transpose1d": lambda n: mx.conv_transpose1d(X, W, stride=n),
    "cumsum": lambda n: mx.cumsum(wide(n)),
    "diag": lambda n: mx.diag(wide(n)),
    "einsum": lambda n: mx.einsum("i,j->ij", wide(n), wide(n)),
    "eye": lambda n: mx.eye(n),
    "fft": lambda n: mx.fft.fft(A, n),
    "fft of columns": lambda n: mx.fft.fft(M, n, axis=0),
    "fftfreq": lambda n: mx.fft.fftfreq(n),
    "fftn": lambda n: mx.fft.fftn(M, (n, 2)),
    "full": lambda n: mx.full((n,), 1),
    "gather": lambda n: mx.take(A, mx.broadcast_to(mx.array(0), (n,))),
    "hadamard_transform": lambda n: mx.hadamard_transform(wide(n)),
    "inv": lambda n: mx.linalg.inv(wide(n, n), stream=mx.cpu),
    "istft": lambda n: mx.fft.istft(mx.ones((3, 4)) * 1j, 4, length=n),
    "kron": lambda n: mx.kron(A, wide(n)),
    "linspace": lambda n: mx.linspace(0, 1, n),
    "lu": lambda n: mx.linalg.lu(wide(n, 2), stream=mx.cpu),
    "matmul": lambda n: wide(n, 2) @ wide(2, n),
    "meshgrid": lambda n: mx.meshgrid(mx.arange(n), mx.arange(n)),
    "normal": lambda n: mx.random.normal((n,)),
    "outer": lambda n: mx.outer(A, wide(n)),
    "pad, constant": lambda n: mx.pad(A, n),
    "pad, edge": lambda n: mx.pad(A, n, mode="edge"),
    "pad, reflect": lambda n: mx.pad(A, n, mode="reflect"),
    "pad, symmetric": lambda n: mx.pad(A, n, mode="symmetric"),
    "permutation": lambda n: mx.random.permutation(n),
    "qr": lambda n: mx.linalg.qr(wide(2, n), stream=mx.cpu),
    "quantize": lambda n: mx.quantize(wide(n, 64)),
    "repeat": lambda n: mx.repeat(A, n),
    "sort": lambda n: mx.sort(wide(n)),
    "argsort": lambda n: mx.argsort(wide(n)),
    "split": lambda n: mx.split(wide(n), n),
    "split of keys": lambda n: mx.random.split(KEY, n),
    "stack": lambda n: mx.stack([wide(n), wide(n)]),
    "stft": lambda n: mx.fft.stft(A, n, win_length=3),
    "svd": lambda n: mx.linalg.svd(wide(n, 2), stream=mx.cpu),
    "tile": lambda n: mx.tile(M, (n, 1)),
    "tri": lambda n: mx.tri(2, n),
    "unflatten": lambda n: mx.unflatten(A, 0, (n, -1)),
    "vmap": lambda n: mx.vmap(lambda x: x + 1)(wide(n)),
    "zeros": lambda n: mx.zeros((n,)),
}


@pytest.mark.parametrize("n", [2**31 - 1, 2**31, 2**40])
@pytest.mark.parametrize("name", CALLS)
def test_beyond_memory(name, n, on_cpu, memory):
    memory.set_memory_limit(1 << 28, strict=True)
    before = memory.get_pending_nodes()
    with pytest.raises((MemoryError, ValueError), match=r"\["):
        result = CALLS[name](n)
        assert memory.get_pending_nodes() - before < MOST_NODES
        mx.eval(result)
