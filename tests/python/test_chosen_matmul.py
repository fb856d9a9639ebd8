"""Products of chosen matrices, of blocks and of ranges, and the Hadamard transform."""

import narrows.core as mx
import numpy as np
import pytest
from support import FLOATING, assert_close, name_of, to_numpy

by_dtype = pytest.mark.parametrize("dtype", FLOATING, ids=name_of)
# The sums of a product of some ten numbers, in units of one operation.
SCALE = 20


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def arrays(dtype, *shapes):
    """Random arrays, and their values in float64."""
    made = [mx.array(random(*shape, seed=i)).astype(dtype) for i, shape in enumerate(shapes)]
    return made, [to_numpy(a).astype(np.float64) for a in made]


# gather_mm

# Shapes of both factors, indices of both.
GATHERS = {
    "right": ((5, 2, 4), (3, 4, 6), None, [0, 1, 2, 0, 1]),
    "left": ((5, 2, 4), (3, 4, 6), [4, 0, -1], None),
    "both": ((5, 2, 4), (3, 4, 6), [[0], [4]], [1, 2]),
    "stacks": ((2, 3, 2, 4), (2, 2, 4, 6), [5, 0], [[3, 3], [0, -4]]),
    "one matrix": ((2, 4), (3, 4, 6), None, [2, 0]),
    "nothing": ((5, 2, 4), (3, 4, 6), [], []),
    "empty matrices": ((5, 2, 0), (3, 0, 6), [1], [1]),
    "many": ((40, 1, 4), (3, 4, 6), None, [[i % 3] * 40 for i in range(60)]),
}


def expected_gather(a, b, lhs, rhs):
    left = np.arange(a[..., 0, 0].size if a.size else len(a)).reshape(a.shape[:-2])
    right = np.arange(b[..., 0, 0].size if b.size else len(b)).reshape(b.shape[:-2])
    left = left if lhs is None else np.array(lhs, int)
    right = right if rhs is None else np.array(rhs, int)
    left, right = np.broadcast_arrays(left, right)
    stack_a = a.reshape(-1, *a.shape[-2:]) if a.size else a
    stack_b = b.reshape(-1, *b.shape[-2:]) if b.size else b
    return stack_a[left] @ stack_b[right]


@by_dtype
@pytest.mark.parametrize("name", GATHERS)
def test_gather_mm(name, dtype):
    a_shape, b_shape, lhs, rhs = GATHERS[name]
    (a, b), values = arrays(dtype, a_shape, b_shape)
    indices = [None if i is None else mx.array(i, mx.int32) for i in (lhs, rhs)]
    result = mx.gather_mm(a, b, *indices)
    assert result.dtype == dtype
    assert_close(result, expected_gather(*values, lhs, rhs), dtype, SCALE)


@pytest.mark.parametrize("dtype", [mx.uint8, mx.uint32, mx.int64, mx.uint64], ids=name_of)
def test_indices_of_any_integers(dtype):
    (a, b), values = arrays(mx.float32, (5, 2, 4), (3, 4, 6))
    result = mx.gather_mm(a, b, mx.array([1, 4], dtype), mx.array([2, 0], dtype))
    assert_close(result, expected_gather(*values, [1, 4], [2, 0]), scale=SCALE)


def test_gather_mm_of_vectors_and_layouts():
    (a, b), (x, y) = arrays(mx.float32, (5, 4), (3, 4, 6))
    rhs = mx.array([2, 0])
    assert_close(mx.gather_mm(a[1], b, rhs_indices=rhs), x[1] @ y[[2, 0]], scale=SCALE)
    column = mx.gather_mm(a[None], b[0, :, 1], lhs_indices=mx.array([0, 0]))
    assert_close(column, np.stack([x @ y[0, :, 1]] * 2), scale=SCALE)
    swapped = mx.gather_mm(b.swapaxes(-1, -2), a.T[None], mx.array([1, 2]))
    assert_close(swapped, np.swapaxes(y, -1, -2)[[1, 2]] @ x.T, scale=SCALE)
    assert_close(mx.gather_mm(a, b), x @ y, scale=SCALE)
    assert mx.gather_mm(a.astype(mx.float16), b, rhs_indices=rhs).dtype == mx.float32


def test_derivatives_of_gather_mm():
    (a, b), _ = arrays(mx.float64, (5, 2, 4), (3, 4, 6))
    lhs, rhs = mx.array([4, 0, 4, 1]), mx.array([[1, 1, 1, 2], [0, 0, 2, 2]])

    def ours(a, b):
        return mx.gather_mm(a, b, lhs, rhs)

    def expected(a, b):
        return a[lhs] @ b[rhs]

    weights = [mx.array(random(2, 4, 2, 6, seed=5)).astype(mx.float64)]
    tangents = [mx.array(random(*x.shape, seed=7)).astype(mx.float64) for x in (a, b)]
    for f, others in ((mx.vjp, weights), (mx.jvp, tangents)):
        for x, y in zip(f(ours, [a, b], others)[1], f(expected, [a, b], others)[1], strict=True):
            assert_close(x, to_numpy(y), scale=SCALE)


def test_vmap_of_gather_mm():
    (a, b), _ = arrays(mx.float32, (3, 5, 2, 4), (3, 4, 6))
    rhs = mx.array([[0, 1, 2, 0, 1], [2] * 5, [1] * 5])
    result = mx.vmap(lambda a, rhs: mx.gather_mm(a, b, rhs_indices=rhs))(a, rhs)
    for i in range(3):
        assert_close(result[i], to_numpy(mx.gather_mm(a[i], b, rhs_indices=rhs[i])), scale=SCALE)


# block_masked_mm

# Shapes of the factors, the block size.
BLOCKS = [((64, 128), (128, 64), 64), ((70, 96), (96, 40), 32), ((2, 33, 65), (65, 5), 32)]


def stretched(mask, shape, block):
    elements = np.repeat(np.repeat(mask, block, -1), block, -2)
    return elements[..., : shape[-2], : shape[-1]].astype(np.float64)


@by_dtype
@pytest.mark.parametrize("masks", [mx.bool_, mx.float32, mx.int32], ids=name_of)
@pytest.mark.parametrize("case", BLOCKS, ids=str)
def test_block_masked_mm(case, masks, dtype):
    a_shape, b_shape, block = case
    (a, b), (x, y) = arrays(dtype, a_shape, b_shape)
    out_shape = (*a_shape[:-1], b_shape[-1])
    made = []
    for i, shape in enumerate((out_shape, a_shape, b_shape)):
        blocks = [-(-size // block) for size in shape[-2:]]
        made.append(np.random.default_rng(i).integers(0, 2 if masks == mx.bool_ else 3, blocks))
    given = [mx.array(mask).astype(masks) for mask in made]
    result = mx.block_masked_mm(a, b, block, *given)
    assert result.dtype == dtype
    out, left, right = [
        stretched(mask, shape, block)
        for mask, shape in zip(made, (out_shape, a_shape, b_shape), strict=True)
    ]
    assert_close(result, (x * left) @ (y * right) * out, dtype, 200)
    assert_close(mx.block_masked_mm(a, b, block), x @ y, dtype, 200)


def test_what_a_mask_hides_does_not_count():
    a = mx.full((64, 64), float("nan"))
    mask = mx.zeros((2, 2), mx.bool_)
    assert mx.block_masked_mm(a, mx.ones((64, 1)), 32, mask_lhs=mask).tolist() == [[0]] * 64
    assert mx.block_masked_mm(a, a, 32, mask_out=mask).tolist() == [[0] * 64] * 64


def test_masks_of_stacks_and_vectors():
    (a, b), (x, y) = arrays(mx.float32, (2, 32, 64), (64,))
    mask = np.array([[[1, 0]], [[0, 1]]])
    result = mx.block_masked_mm(a, b, 32, mask_lhs=mx.array(mask).astype(mx.bool_))
    assert_close(result, (x * stretched(mask, x.shape, 32)) @ y, scale=SCALE)
    assert_close(mx.block_masked_mm(b, a.swapaxes(-1, -2)[0]), y @ x[0].T, scale=SCALE)


# segmented_mm


@by_dtype
def test_segmented_mm(dtype):
    (a, b), (x, y) = arrays(dtype, (3, 10), (10, 4))
    segments = [[[0, 5], [5, 8]], [[8, 10], [3, 3]], [[0, 10], [6, 2]]]
    result = mx.segmented_mm(a, b, mx.array(segments))
    assert result.shape == (3, 2, 3, 4) and result.dtype == dtype
    expected = [[x[:, i:j] @ y[i:j] for i, j in line] for line in segments]
    assert_close(result, np.array(expected), dtype, SCALE)


def test_segments_of_any_integers():
    (a, b), (x, y) = arrays(mx.float32, (3, 10), (10, 4))
    for dtype in (mx.uint8, mx.uint32, mx.int64):
        result = mx.segmented_mm(a, b, mx.array([2, 7], dtype))
        assert_close(result, x[:, 2:7] @ y[2:7], scale=SCALE)
    assert mx.segmented_mm(a, b, mx.zeros((0, 2), mx.int32)).shape == (0, 3, 4)
    assert_close(mx.segmented_mm(a, b, mx.array([[4, 99]])), (x[:, 4:] @ y[4:])[None], scale=SCALE)


@by_dtype
def test_long_segments(dtype):
    (a, b), (x, y) = arrays(dtype, (70, 1300), (1300, 300))
    segments = [[0, 1300], [1, 1200], [1299, 1300]]
    result = mx.segmented_mm(a, b, mx.array(segments))
    expected = [x[:, i:j] @ y[i:j] for i, j in segments]
    assert_close(result, np.array(expected), dtype, 50 * SCALE)


def test_layouts_of_segments():
    (a, b), (x, y) = arrays(mx.float32, (10, 3), (4, 10))
    segments = mx.array([[0, 9, 5], [1, 10, 8]])
    result = mx.segmented_mm(a.T, b.T, segments.T)
    expected = [x.T[:, i:j] @ y.T[i:j] for i, j in ((0, 1), (9, 10), (5, 8))]
    assert_close(result, np.array(expected), scale=SCALE)


def test_what_a_segment_does_not_cover_is_not_read(memory, on_cpu):
    a, b = mx.full((8, 4096), float("nan")), mx.full((4096, 8), float("nan"))
    a[:, 100:200], b[100:200] = 1, 1
    segments = mx.array([[100 + i, 101 + i] for i in range(100)])
    mx.eval(a, b, segments)
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    result = mx.segmented_mm(a, b, segments)
    mx.eval(result)
    assert mx.get_peak_memory() - before < 100_000
    assert (np.array(result) == 1).all()


def test_transformations_of_segmented_mm(tmp_path):
    (a, b), (x, y) = arrays(mx.float32, (3, 10), (10, 4))
    segments = mx.array([[[0, 5], [5, 8]], [[8, 10], [3, 3]]])
    result = mx.vmap(lambda s: mx.segmented_mm(a, b, s))(segments)
    assert_close(result, to_numpy(mx.segmented_mm(a, b, segments)), scale=SCALE)
    mx.export_function(str(tmp_path / "f"), mx.segmented_mm, a, b, segments)
    (again,) = mx.import_function(str(tmp_path / "f"))(a, b, segments)
    assert again.tolist() == mx.segmented_mm(a, b, segments).tolist()


# hadamard_transform

# Where the rows of the matrix of 12 have +1.
TWELVE = """
+-++++++++++ --+-+-+-+-+- +++-++----++ +---+--+-++- +++++-++---- +-+---+--+-+
++--+++-++-- +--++---+--+ ++----+++-++ +--+-++---+- ++++----+++- +-+--+-++---
"""


def signs(text):
    return [1 if c == "+" else -1 for c in text]


@pytest.mark.parametrize("n", [1, 2, 8, 12, 20, 28, 24, 40, 56, 64, 96, 128, 256, 640, 4096, 7168])
def test_rows_of_hadamard_matrices_are_orthogonal(n):
    rows = mx.eye(n)[:64] if n > 64 else mx.eye(n)
    matrix = to_numpy(mx.hadamard_transform(rows, 1.0))
    assert set(np.unique(matrix)) <= {-1, 1}
    np.testing.assert_array_equal(matrix @ matrix.T, n * np.eye(len(matrix)))


def test_the_matrices_are_products_of_smaller_ones():
    two = np.array([[1, 1], [1, -1]])
    matrices = {
        n: to_numpy(mx.hadamard_transform(mx.eye(n), 1.0)) for n in (4, 12, 20, 24, 28, 112)
    }
    twelve = [[1 if c == "+" else -1 for c in row] for row in TWELVE.split()]
    np.testing.assert_array_equal(matrices[12], twelve)
    np.testing.assert_array_equal(matrices[4], np.kron(two, two))
    np.testing.assert_array_equal(matrices[24], np.kron(matrices[12], two))
    np.testing.assert_array_equal(matrices[112], np.kron(matrices[28], np.kron(two, two)))
    assert matrices[20][0].tolist() == [1 if c == "+" else -1 for c in "+-----++++--++--+--+"]
    assert matrices[28][1].tolist() == [
        1 if c == "+" else -1 for c in "-+--------+++++-+-++-+-++--+"
    ]


@by_dtype
def test_hadamard_transform(dtype):
    (a,), (x,) = arrays(dtype, (2, 3, 48))
    matrix = to_numpy(mx.hadamard_transform(mx.eye(48), 1.0)).astype(np.float64)
    result = mx.hadamard_transform(a)
    assert result.dtype == dtype
    assert_close(result, x @ matrix / np.sqrt(48), dtype, SCALE)
    assert_close(mx.hadamard_transform(a, 0.5), x @ matrix / 2, dtype, SCALE)
    pairs = mx.hadamard_transform(a.swapaxes(0, 2)[..., :2])
    expected = np.swapaxes(x, 0, 2)[..., :2] @ [[1, 1], [1, -1]] / np.sqrt(2)
    assert_close(pairs, expected, dtype, SCALE)


def test_hadamard_transform_of_integers_and_scalars():
    assert mx.hadamard_transform(mx.array([1, 2])).dtype == mx.float32
    assert mx.hadamard_transform(mx.array(3.0), 2.0).item() == 6
    assert mx.hadamard_transform(mx.zeros((0, 8))).shape == (0, 8)


def test_derivatives_of_compositions():
    (a, b), _ = arrays(mx.float64, (32, 64), (64, 32))
    mask = mx.array([[True, False]])
    segments = mx.array([[0, 40], [40, 64]])
    cases = [
        (lambda a, b: mx.block_masked_mm(a, b, 32, mask_lhs=mask), lambda a, b: a[:, :32] @ b[:32]),
        (lambda a, b: mx.segmented_mm(a, b, segments).sum(0), lambda a, b: a @ b),
        (lambda a, b: mx.hadamard_transform(mx.hadamard_transform(a)) @ b, lambda a, b: a @ b),
    ]
    for ours, expected in cases:
        weights = [mx.array(random(32, 32)).astype(mx.float64)]
        pairs = zip(
            mx.vjp(ours, [a, b], weights)[1], mx.vjp(expected, [a, b], weights)[1], strict=True
        )
        for x, y in pairs:
            assert_close(x, to_numpy(y), scale=SCALE)


# qqmm


def rounded(x, mode):
    rows = mx.dequantize(*mx.quantize(mx.array(x), mode=mode), mode=mode, dtype=mx.float32)
    return to_numpy(rows)


@pytest.mark.parametrize("mode", ["nvfp4", "mxfp8", "mxfp4"])
def test_qqmm(mode):
    x, w = random(2, 3, 64), random(5, 64, seed=1)
    expected = rounded(x, mode) @ rounded(w, mode).T
    codes = mx.quantize(mx.array(w), mode=mode)
    for args in ((mx.array(w),), codes):
        assert_close(mx.qqmm(mx.array(x), *args, mode=mode), expected, scale=100)
        assert_close(mx.qqmm(mx.array(x[0, 0]), *args, mode=mode), expected[0, 0], scale=100)
    half = mx.qqmm(mx.array(x).astype(mx.bfloat16), mx.array(w).astype(mx.bfloat16), mode=mode)
    assert half.dtype == mx.bfloat16 and half.shape == (2, 3, 5)


@pytest.mark.parametrize("mode", ["nvfp4", "mxfp8"])
def test_gather_qqmm(mode):
    x, w = random(4, 2, 64), random(3, 5, 64, seed=1)
    left, right = rounded(x, mode), rounded(w, mode)
    rhs = mx.array([2, 0, 2, 1])
    expected = left @ np.swapaxes(right[[2, 0, 2, 1]], -1, -2)
    for args in ((mx.array(w),), mx.quantize(mx.array(w), mode=mode)):
        result = mx.gather_qqmm(mx.array(x), *args, rhs_indices=rhs, mode=mode)
        assert_close(result, expected, scale=100)


def test_global_scales_of_qqmm():
    x, w = random(3, 64), 1e-3 * random(5, 64, seed=1)
    scales = {
        "global_scale_x": mx.array(np.abs(x).max()),
        "global_scale_w": mx.array(np.abs(w).max()),
    }
    codes = mx.quantize(mx.array(w), mode="nvfp4", global_scale=scales["global_scale_w"])
    for args in ((mx.array(w),), codes):
        result = to_numpy(mx.qqmm(mx.array(x), *args, **scales))
        assert np.abs(result - x @ w.T).max() < 0.3 * np.abs(x @ w.T).max()


def test_derivatives_of_qqmm_go_past_the_rounding():
    x, w = mx.array(random(3, 64)), mx.array(random(5, 64, seed=1))
    weights = random(3, 5, seed=2)
    of_x, of_w = mx.vjp(lambda x, w: mx.qqmm(x, w), [x, w], [mx.array(weights)])[1]
    assert_close(of_x, weights @ rounded(to_numpy(w), "nvfp4"), scale=50)
    assert_close(of_w, weights.T @ rounded(to_numpy(x), "nvfp4"), scale=50)


# Errors

A, B = mx.zeros((5, 2, 4)), mx.zeros((3, 4, 6))
X, W = mx.zeros((2, 64)), mx.zeros((4, 64))
INDEX = mx.array([0])
ERRORS = {
    "gather integers": (
        lambda: mx.gather_mm(A.astype(mx.int32), B.astype(mx.int32), INDEX),
        r"\[gather_mm\] dtypes int32 and int32, expected real floating",
    ),
    "gather complex": (lambda: mx.gather_mm(A.astype(mx.complex64), B, INDEX), "dtypes complex64"),
    "gather inner": (
        lambda: mx.gather_mm(A[..., :3], B, INDEX),
        r"shapes \(5, 2, 3\) and \(3, 4, 6\), expected \(..., m, k\)",
    ),
    "gather scalar": (lambda: mx.gather_mm(A[0, 0, 0], B, INDEX), r"shapes \(\) and"),
    "gather float indices": (
        lambda: mx.gather_mm(A, B, mx.zeros(1)),
        "indices of dtype float32, expected integers",
    ),
    "gather shapes": (
        lambda: mx.gather_mm(A, B, mx.array([0, 1]), mx.array([0, 1, 2])),
        r"\[gather_mm\] shapes \(2,\) and \(3,\)",
    ),
    "gather of nothing": (
        lambda: mx.gather_mm(A[:0], B, INDEX, INDEX),
        "1 indices of a stack of no matrices",
    ),
    "block size": (
        lambda: mx.block_masked_mm(X, W.T, 16),
        r"\[block_masked_mm\] block_size 16, expected 32 or 64",
    ),
    "mask": (
        lambda: mx.block_masked_mm(X, W.T, 32, mask_lhs=mx.ones((2, 2))),
        r"mask_lhs of shape \(2, 2\), expected \(1, 2\) for \(2, 64\) in blocks of 32",
    ),
    "masked integers": (
        lambda: mx.block_masked_mm(X.astype(mx.int32), W.T.astype(mx.int32)),
        "dtypes int32 and int32, expected real",
    ),
    "masked scalar": (lambda: mx.block_masked_mm(X[0, 0], W), r"an array of shape \(\)"),
    "segmented stack": (
        lambda: mx.segmented_mm(A, B, mx.array([[0, 1]])),
        r"\[segmented_mm\] arrays of shapes \(5, 2, 4\)",
    ),
    "segments": (
        lambda: mx.segmented_mm(X, W.T, mx.array([0, 1, 2])),
        r"segments of shape \(3,\) and dtype int32, expected integers of shape \(..., 2\)",
    ),
    "float segments": (
        lambda: mx.segmented_mm(X, W.T, mx.zeros((1, 2))),
        "dtype float32, expected",
    ),
    "length": (
        lambda: mx.hadamard_transform(mx.zeros((2, 44))),
        r"\[hadamard_transform\] an array of shape \(2, 44\), expected m \* 2\^k",
    ),
    "no length": (lambda: mx.hadamard_transform(mx.zeros((2, 0))), r"shape \(2, 0\), expected m"),
    "complex": (lambda: mx.hadamard_transform(mx.zeros(2, mx.complex64)), "dtype complex64"),
    "affine": (lambda: mx.qqmm(X, W, mode="affine"), r"\[qqmm\] mode 'affine', expected 'mxfp4'"),
    "codes without scales": (
        lambda: mx.qqmm(X, mx.quantize(W, mode="nvfp4")[0]),
        r"\[qqmm\] dtype uint32, expected float32",
    ),
    "stack of w": (lambda: mx.qqmm(X, W[None]), r"w of shape \(1, 4, 64\), expected two dim"),
    "inner of qqmm": (
        lambda: mx.qqmm(X, W[:, :32]),
        r"x of shape \(2, 64\) and w of shape \(4, 32\), expected the same last",
    ),
    "groups of qqmm": (
        lambda: mx.qqmm(X[:, :8], W[:, :8]),
        r"x of shape \(2, 8\), expected a multiple of group_size 16",
    ),
    "inner of gather_qqmm": (
        lambda: mx.gather_qqmm(X, W[:, :32]),
        r"\[gather_qqmm\] x of shape \(2, 64\) and w of shape \(4, 32\)",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        call()
