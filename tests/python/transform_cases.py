"""Functions and arguments at which they have derivatives: a row for each rule."""

import narrows.core as mx
import numpy as np

UNARY = {  # operation: where it is smooth
    "abs": (0.2, 2),
    "arccos": (-0.8, 0.8),
    "arccosh": (1.3, 3),
    "arcsin": (-0.8, 0.8),
    "arcsinh": (-2, 2),
    "arctan": (-2, 2),
    "arctanh": (-0.8, 0.8),
    "conjugate": (-2, 2),
    "cos": (-2, 2),
    "cosh": (-2, 2),
    "erf": (-2, 2),
    "erfinv": (-0.8, 0.8),
    "exp": (-2, 2),
    "expm1": (-2, 2),
    "log": (0.3, 3),
    "log10": (0.3, 3),
    "log1p": (-0.5, 3),
    "log2": (0.3, 3),
    "negative": (-2, 2),
    "real": (-2, 2),
    "reciprocal": (0.4, 2),
    "rsqrt": (0.4, 2),
    "sigmoid": (-2, 2),
    "sin": (-2, 2),
    "sinh": (-2, 2),
    "sqrt": (0.3, 3),
    "square": (-2, 2),
    "tan": (-1, 1),
    "tanh": (-2, 2),
}
# Derivatives are zero.
FLAT = ["ceil", "floor", "imag", "rint", "sign"]
BINARY = {
    "add": (-2, 2),
    "arctan2": (0.3, 2),
    "divide": (0.4, 2),
    "logaddexp": (-2, 2),
    "maximum": (-2, 2),
    "minimum": (-2, 2),
    "multiply": (-2, 2),
    "power": (0.4, 2),
    "remainder": (0.4, 2),
    "subtract": (-2, 2),
}


def sliding(a):
    """Windows of three elements that overlap."""
    return mx.as_strided(a, (a.size - 2, 3), (1, 1), 0)


def updated(a, b):
    """A slice of `a` replaced by `b`."""
    result = a * a
    result[1:, ::2] = b
    return result


ROWS, PAIRS = mx.array([2, 0, 2]), mx.array([[-1], [1]])
SWAPPED = mx.array([2, 0, 1])
LINES = mx.array([[2, 0, 0, 1], [1, 1, 2, -1]])
MASK = mx.array([[1, 0, 1, 1], [0, 0, 1, 0], [1, 0, 0, 1]]) > 0


def summed(parts):
    """Parts of an array that overlap, each with a weight of its own."""
    return sum(mx.sum(part * part) * (i + 1) for i, part in enumerate(parts))


def assigned(a, index, value):
    """`a` after an assignment that it is used once for."""
    result = a * a
    result[index] = value
    return result


# name: (function, shapes of the arguments, range of their values)
OTHERS = {
    "astype": (lambda a: a.astype(mx.float64) * a, [(3, 4)], (-1, 1)),
    "where": (lambda a, b: mx.where(a > b, a * b, b), [(3, 4), (4,)], (-1, 1)),
    "clip": (lambda a: mx.clip(a, -0.5, 0.5) * a, [(3, 4)], (-1, 1)),
    "sum": (lambda a: mx.sum(a * a, axis=1), [(3, 4)], (-1, 1)),
    "sum all": (lambda a: mx.sum(a * a), [(3, 4)], (-1, 1)),
    "sum keepdims": (lambda a: a * mx.sum(a, axis=(0, 2), keepdims=True), [(3, 4, 2)], (-1, 1)),
    "mean": (lambda a: mx.mean(a * a, axis=0), [(3, 4)], (-1, 1)),
    "var": (lambda a: mx.var(a, axis=1), [(3, 4)], (-1, 1)),
    "std": (lambda a: mx.std(a, axis=1, ddof=1), [(3, 4)], (-1, 1)),
    "prod": (lambda a: mx.prod(a, axis=1), [(3, 4)], (0.5, 2)),
    "prod of axes": (lambda a: mx.prod(a, axis=(0, 2)), [(2, 3, 2)], (0.5, 2)),
    "prod with zeros": (lambda a: mx.prod(mx.maximum(a, 0) * a, axis=0), [(3, 4)], (0.5, 2)),
    "max": (lambda a: mx.max(a, axis=1), [(3, 4)], (-1, 1)),
    "min": (lambda a: mx.min(a * a), [(3, 4)], (-1, 1)),
    "logsumexp": (lambda a: mx.logsumexp(a, axis=0), [(3, 4)], (-2, 2)),
    "logsumexp of axes": (
        lambda a: mx.logsumexp(a, axis=(0, 2), keepdims=True),
        [(3, 4, 2)],
        (-2, 2),
    ),
    "softmax": (lambda a: mx.softmax(a, axis=0), [(3, 4)], (-2, 2)),
    "softmax of axes": (lambda a: mx.softmax(a, axis=(1, 2)), [(3, 4, 2)], (-2, 2)),
    "cumsum": (lambda a: mx.cumsum(a * a, axis=1), [(3, 4)], (-1, 1)),
    "cumsum flat": (lambda a: mx.cumsum(a, reverse=True), [(3, 4)], (-1, 1)),
    "cumsum exclusive": (lambda a: mx.cumsum(a, axis=0, inclusive=False), [(3, 4)], (-1, 1)),
    "cumprod": (lambda a: mx.cumprod(a, axis=1), [(3, 4)], (0.5, 2)),
    "cumprod reverse": (
        lambda a: mx.cumprod(a, axis=0, reverse=True, inclusive=False),
        [(3, 4)],
        (0.5, 2),
    ),
    "cumprod with zeros": (
        lambda a: mx.cumprod(a * mx.array([1.0, 1.0, 0.0, 1.0, 0.0, 2.0]), axis=1),
        [(2, 6)],
        (0.5, 2),
    ),
    "logcumsumexp": (lambda a: mx.logcumsumexp(a, axis=1), [(3, 4)], (-2, 2)),
    "logcumsumexp exclusive": (
        lambda a: mx.logcumsumexp(a, axis=1, reverse=True, inclusive=False)[:, :-1],
        [(3, 4)],
        (-2, 2),
    ),
    "matmul": (lambda a, b: a @ b, [(3, 4), (4, 2)], (-1, 1)),
    "matmul batch": (lambda a, b: a @ b, [(2, 3, 4), (2, 4, 2)], (-1, 1)),
    "matmul broadcast": (lambda a, b: a @ b, [(5, 1, 3, 4), (2, 4, 2)], (-1, 1)),
    "matmul one right": (lambda a, b: a @ b, [(5, 2, 3, 4), (4, 2)], (-1, 1)),
    "matmul vector left": (lambda a, b: a @ b, [(4,), (3, 4, 2)], (-1, 1)),
    "matmul vector right": (lambda a, b: a @ b, [(3, 5, 4), (4,)], (-1, 1)),
    "matmul vectors": (lambda a, b: a @ b, [(4,), (4,)], (-1, 1)),
    "matmul transposed": (lambda a, b: a.T @ b.T, [(4, 3), (2, 4)], (-1, 1)),
    "matmul transposed batch": (
        lambda a, b: (a @ b.T) @ mx.swapaxes(a, 1, 2),
        [(2, 3, 4), (4, 4)],
        (-1, 1),
    ),
    "matmul transposed broadcast": (
        lambda a, b: mx.swapaxes(a, 2, 3) @ b.swapaxes(1, 2),
        [(5, 1, 4, 3), (2, 2, 4)],
        (-1, 1),
    ),
    "addmm transposed": (
        lambda a, b, c: mx.addmm(c, a, b.T, 2.0, 0.5),
        [(5, 3, 4), (2, 4), (2,)],
        (-1, 1),
    ),
    "addmm": (
        lambda c, a, b: mx.addmm(c, a, b, alpha=2.0, beta=0.5),
        [(2,), (3, 4), (4, 2)],
        (-1, 1),
    ),
    "attention": (
        lambda q, k, v: mx.fast.scaled_dot_product_attention(q, k, v, scale=0.5, mask="causal"),
        [(2, 4, 3, 2), (2, 2, 5, 2), (2, 2, 5, 3)],
        (-1, 1),
    ),
    "attention with a bias and sinks": (
        lambda q, k, v, m, s: mx.fast.scaled_dot_product_attention(
            q, k, v, scale=0.75, mask=m, sinks=s
        ),
        [(2, 2, 3, 2), (2, 1, 4, 2), (2, 1, 4, 1), (2, 3, 1), (2,)],
        (-1, 1),
    ),
    "gated delta": (
        lambda q, k, v, g, b: mx.fast.gated_delta_update(q, k, v, g, b)[0],
        [(1, 3, 1, 2), (1, 3, 1, 2), (1, 3, 2, 2), (1, 3, 2), (1, 3, 2)],
        (0.2, 0.8),
    ),
    "rope": (
        lambda x: mx.fast.rope(x, 4, traditional=False, base=10.0, scale=0.5, offset=2),
        [(2, 3, 2, 6)],
        (-1, 1),
    ),
    "batch norm": (
        lambda x, w, b: mx.fast.batch_norm(x, w, b, 1e-2)[0],
        [(4, 2, 3), (3,), (3,)],
        (-1, 1),
    ),
    "batch norm's moments": (
        lambda x: sum(mx.fast.batch_norm(x, None, None, 1e-2)),
        [(5, 3)],
        (-1, 1),
    ),
    "tensordot": (lambda a, b: mx.tensordot(a, b, axes=2), [(3, 2, 4), (2, 4, 2)], (-1, 1)),
    "outer": (lambda a, b: mx.outer(a, b), [(3,), (4,)], (-1, 1)),
    "conv1d": (lambda a, b: mx.conv1d(a, b, 2, 1, 2), [(2, 7, 2), (3, 2, 2)], (-1, 1)),
    "conv2d": (lambda a, b: mx.conv2d(a, b, (2, 1), 1), [(2, 4, 3, 2), (3, 3, 2, 2)], (-1, 1)),
    "conv2d of groups": (
        lambda a, b: mx.conv2d(a * a, b, groups=2),
        [(1, 4, 3, 4), (2, 2, 2, 2)],
        (-1, 1),
    ),
    "conv3d": (lambda a, b: mx.conv3d(a, b), [(1, 3, 2, 2, 2), (2, 2, 1, 2, 2)], (-1, 1)),
    "conv_general": (
        lambda a, b: mx.conv_general(a, b, 2, ([1, 0], [0, 2]), 1, (1, 3), 2, True),
        [(1, 4, 3, 2), (2, 2, 2, 1)],
        (-1, 1),
    ),
    "conv_transpose2d": (
        lambda a, b: mx.conv_transpose2d(a, b, 2, 1, 1, (1, 0), 2),
        [(1, 3, 2, 4), (2, 2, 3, 2)],
        (-1, 1),
    ),
    "convolve": (lambda a, b: mx.convolve(a, b, "same"), [(4,), (3,)], (-1, 1)),
    "gradient of conv2d": (
        lambda a, b: mx.grad(lambda b: mx.sum(mx.conv2d(a, b * b, 2) ** 2))(b),
        [(1, 4, 3, 2), (2, 2, 2, 2)],
        (-1, 1),
    ),
    "reshape": (lambda a: (a * a).reshape(2, -1), [(3, 4)], (-1, 1)),
    "flatten of transposed": (lambda a: (a * a).T.flatten(), [(3, 4)], (-1, 1)),
    "expand_dims": (lambda a: mx.expand_dims(a, (0, 2)) * a, [(3, 4)], (-1, 1)),
    "squeeze": (lambda a: mx.squeeze(a, (0, 2)) * 2, [(1, 3, 1, 4)], (-1, 1)),
    "transpose": (lambda a: mx.transpose(a, (1, 2, 0)) * 3, [(2, 3, 4)], (-1, 1)),
    "broadcast_to": (lambda a: mx.broadcast_to(a, (5, 3, 4)), [(3, 1)], (-1, 1)),
    "contiguous": (lambda a: mx.contiguous(a.T), [(3, 4)], (-1, 1)),
    "diagonal": (lambda a: mx.diagonal(a, 1, 2, 0), [(4, 2, 3)], (-1, 1)),
    "diagonal below": (lambda a: mx.diagonal(a, -2), [(4, 3)], (-1, 1)),
    "diag": (lambda a: mx.diag(a, -1), [(3,)], (-1, 1)),
    "as_strided": (sliding, [(7,)], (-1, 1)),
    "as_strided repeated": (
        lambda a: mx.as_strided(a * a, (3, 2, 4), (2, 0, 1), 1),
        [(3, 4)],
        (-1, 1),
    ),
    "slice": (lambda a: a[1:, ::-2] * 2, [(3, 5)], (-1, 1)),
    "slices": (
        lambda a: summed([a[0], a[1:, ::2], a[::-2, 1], a[1], a[:, ::-1], a[2:2]]),
        [(3, 4)],
        (-1, 1),
    ),
    "slices and all": (lambda a: summed([a[0], a, a[1], a.T, a[0]]), [(3, 4)], (-1, 1)),
    "slices of slices": (
        lambda a: summed([a[i][j] for i in range(3) for j in range(2)]),
        [(3, 2, 2)],
        (-1, 1),
    ),
    "windows": (lambda a: summed([sliding(a), sliding(a * 2), a[1:4]]), [(7,)], (-1, 1)),
    "slice_update": (
        updated,
        [(3, 4), (2,)],
        (-1, 1),
    ),
    "split": (
        lambda a: sum(p * (i + 1) for i, p in enumerate(mx.split(a, 2, 1))),
        [(3, 4)],
        (-1, 1),
    ),
    "split part": (lambda a: mx.split(a, [1, 3], 0)[1], [(4, 2)], (-1, 1)),
    "concatenate": (lambda a, b: mx.concatenate([a, b, a], 1), [(3, 4), (3, 2)], (-1, 1)),
    "stack": (lambda a, b: mx.stack([a, b, a], 1), [(3, 4), (3, 4)], (-1, 1)),
    "repeat": (lambda a: mx.repeat(a, 3, axis=1), [(3, 4)], (-1, 1)),
    "roll": (lambda a: mx.roll(a, 2, axis=0) * a, [(3, 4)], (-1, 1)),
    "pad": (lambda a: mx.pad(a, ((1, 2), (0, 1))), [(3, 4)], (-1, 1)),
    "pad edge": (lambda a: mx.pad(a, 2, mode="edge"), [(3, 4)], (-1, 1)),
    "gather": (lambda a: a[ROWS] * a[1], [(3, 4)], (-1, 1)),
    "gathers": (
        lambda a: summed([a[ROWS], a[:, ROWS], a[1], a[PAIRS], mx.take_along_axis(a, LINES, 0)]),
        [(3, 4)],
        (-1, 1),
    ),
    "gather pairs": (lambda a: a[:, ROWS, PAIRS], [(2, 3, 4)], (-1, 1)),
    "gather apart": (lambda a: a[ROWS, :, PAIRS] * 2, [(3, 2, 4)], (-1, 1)),
    "take": (lambda a: mx.take(a, PAIRS, axis=1), [(3, 4)], (-1, 1)),
    "take out of range": (lambda a: mx.take(a, PAIRS * 9), [(3, 4)], (-1, 1)),
    "take_along_axis": (lambda a: mx.take_along_axis(a * a, LINES, 0), [(3, 4)], (-1, 1)),
    "slice by arrays": (
        lambda a: mx.slice(a, mx.array([1, -1]), (0, 1), (2, 2)) * 2,
        [(3, 4)],
        (-1, 1),
    ),
    "scatter": (lambda a, b: assigned(a, (slice(None), SWAPPED), b), [(2, 3), (2, 3)], (-1, 1)),
    "scatter out of range": (lambda a, b: assigned(a, ROWS * 2, b), [(3, 2), (3, 2)], (-1, 1)),
    "scatter add": (lambda a, b: (a * a).at[ROWS].add(b * b), [(3, 2), (3, 2)], (-1, 1)),
    "scatter multiply": (lambda a, b: a.at[ROWS].multiply(b), [(3, 2), (3, 2)], (0.5, 2)),
    "scatter multiply by zero": (
        lambda a, b: a.at[ROWS].multiply(b * mx.array([[1.0], [1.0], [0.0]])),
        [(3, 2), (3, 2)],
        (0.5, 2),
    ),
    "scatter divide": (lambda a, b: a.at[ROWS].divide(b), [(3, 2), (3, 2)], (0.5, 2)),
    "scatter maximum": (lambda a, b: (a * a).at[ROWS].maximum(b), [(3, 2), (3, 2)], (-1, 1)),
    "scatter minimum": (lambda a, b: a.at[:, ROWS].minimum(b * b), [(2, 3), (2, 3)], (-1, 1)),
    "put_along_axis": (
        lambda a, b: mx.put_along_axis(a * b[0, 0], LINES, b, 0),
        [(3, 4), (2, 4)],
        (-1, 1),
    ),
    "slice_update by arrays": (
        lambda a, b: mx.slice_update(a * a, b, mx.array([1]), (1,)),
        [(3, 4), (3, 2)],
        (-1, 1),
    ),
    "masked assignment": (lambda a, b: assigned(a, MASK, b), [(3, 4), (6,)], (-1, 1)),
    "masked add": (lambda a, b: a.at[MASK[0]].add(b), [(4, 2), (3, 2)], (-1, 1)),
    "sort": (lambda a: mx.sort(a * a, axis=0), [(3, 4)], (-1, 1)),
    "sort flat": (lambda a: mx.sort(a, axis=None), [(3, 4)], (-1, 1)),
    "argsort": (lambda a: mx.argsort(a, axis=1).astype(a.dtype) * a, [(3, 4)], (-1, 1)),
    "partition": (lambda a: mx.partition(a * 2, 2, axis=1), [(3, 4)], (-1, 1)),
    "argpartition": (lambda a: mx.argpartition(a, 1, axis=0) + 0 * a, [(3, 4)], (-1, 1)),
    "topk": (lambda a: mx.topk(a * a, 2), [(3, 40)], (-1, 1)),
    "median": (lambda a: mx.median(a, axis=(0, 2)), [(3, 4, 2)], (-1, 1)),
    "searchsorted": (
        lambda a, b: mx.searchsorted(mx.array([-0.5, 0.0, 0.5]), a) * b,
        [(3, 4), (3, 4)],
        (-1, 1),
    ),
    "unique": (lambda a: mx.unique(mx.concatenate([a, a]), 6), [(6,)], (-1, 1)),
    "tril": (lambda a: mx.tril(a), [(2, 4, 3)], (-1, 1)),
}
if mx.default_device() == mx.cpu:  # where the last of several values stays
    OTHERS["scatter repeated"] = (
        lambda a, b: assigned(a, (slice(None), ROWS), b),
        [(2, 3), (2, 3)],
        (-1, 1),
    )


def arguments(shapes, bounds, dtype=None, seed=0):
    """Random arguments without ties."""
    rng = np.random.default_rng(seed)
    values = [rng.uniform(*bounds, shape) for shape in shapes]
    return [mx.array(v, dtype=dtype or mx.float64) for v in values]


def all_cases():
    """name: (function, shapes, bounds)."""
    cases = {}
    for name, bounds in UNARY.items():
        cases[name] = (getattr(mx, name), [(3, 4)], bounds)
    for name, bounds in BINARY.items():
        cases[name] = (getattr(mx, name), [(3, 4), (3, 4)], bounds)
        cases[name + " broadcast"] = (getattr(mx, name), [(3, 1), (2, 1, 4)], bounds)
    return {**cases, **OTHERS}
