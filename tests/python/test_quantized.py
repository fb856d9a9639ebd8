"""Quantized numbers: their codes beside MLX's, and the numbers and products that they stand for."""

import os
import pathlib
import subprocess
import sys

import narrows.core as mx
import numpy as np
import pytest
from support import assert_close, to_numpy

RECORDED = np.load(pathlib.Path(__file__).parent / "data/quantized.npz")
DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}
AFFINE = [("affine", bits, size) for bits in (1, 2, 3, 4, 5, 6, 8) for size in (32, 64, 128)]
FLOATS = [("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)]
ALL = AFFINE + FLOATS
# Half the unit in the last place, and the sums of a product of some hundred numbers.
SCALE = {"float32": 100, "float16": 4, "bfloat16": 4}

by_mode = pytest.mark.parametrize("mode", ALL, ids=lambda m: "-".join(map(str, m)))
by_dtype = pytest.mark.parametrize("dtype", DTYPES)


def options(mode):
    name, bits, size = mode
    return {"group_size": size, "bits": bits, "mode": name}


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def unpacked(codes, bits):
    """The codes of uint32 words, one an element."""
    bytes_ = np.ascontiguousarray(np.array(codes)).view(np.uint8)
    stream = np.unpackbits(bytes_, axis=-1, bitorder="little")
    digits = stream.reshape(*stream.shape[:-1], -1, bits)
    return (digits.astype(np.uint32) << np.arange(bits, dtype=np.uint32)).sum(-1)


def e2m1(codes):
    table = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    return np.where(codes & 8, -1, 1) * table[codes & 7]


def e4m3(codes):
    exponent, mantissa = codes.astype(int) >> 3 & 15, codes & 7
    values = np.where(
        exponent == 0, mantissa * 2.0**-9, (1 + mantissa / 8) * 2.0 ** (exponent - 7.0)
    )
    return np.where(codes & 128, -1, 1) * np.where((codes & 127) == 127, np.nan, values)


def numbers_of(parts, mode):
    """What codes, scales and biases stand for, in float64."""
    name, bits, size = mode
    codes, scales, *biases = parts
    codes = unpacked(codes, bits)
    groups = codes.reshape(*codes.shape[:-1], -1, size)
    scales = to_numpy(scales)[..., None]
    if name == "affine":
        values = groups * scales.astype(np.float64) + to_numpy(biases[0])[..., None]
    elif name == "nvfp4":
        values = e2m1(groups) * e4m3(scales)
    else:
        values = (e2m1 if bits == 4 else e4m3)(groups) * 2.0 ** (scales.astype(np.float64) - 127)
    return values.reshape(codes.shape)


def quantized(shape, mode, dtype=mx.float32, seed=0):
    """Codes, scales and biases of random numbers, and what they stand for."""
    parts = mx.quantize(mx.array(random(*shape, seed=seed)).astype(dtype), **options(mode))
    return parts, numbers_of(parts, mode)


# Codes


@by_dtype
@by_mode
def test_codes_are_those_of_mlx(mode, dtype):
    key = "/".join(map(str, mode)) + "/" + dtype
    if f"{key}/codes" not in RECORDED:
        pytest.skip("not recorded")
    parts = mx.quantize(mx.array(RECORDED["w"]).astype(DTYPES[dtype]), **options(mode))
    kinds = ("codes", "scales", "biases")[: len(parts)]
    assert [f"{key}/{kind}" in RECORDED for kind in kinds] == [True] * len(kinds)
    for kind, part in zip(kinds, parts, strict=True):
        np.testing.assert_array_equal(to_numpy(part), RECORDED[f"{key}/{kind}"], kind)
    numbers = mx.dequantize(*parts, **options(mode), dtype=mx.float32)
    # MLX rounds to the dtype of the scales after each step: that is a part of the largest number.
    expected = RECORDED[f"{key}/numbers"]
    unit = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    difference = np.abs(to_numpy(numbers) - expected)
    assert (difference <= unit * np.abs(expected).max(-1, keepdims=True)).all()


@by_mode
def test_shapes_and_dtypes(mode):
    name, bits, size = mode
    for dtype in DTYPES.values():
        parts, _ = quantized((2, 3, 3 * size), mode, dtype)
        codes, scales, *biases = parts
        assert isinstance(parts, tuple) and len(biases) == (name == "affine")
        assert codes.dtype == mx.uint32 and codes.shape == (2, 3, 3 * size * bits // 32)
        for part in [scales, *biases]:
            assert part.shape == (2, 3, 3)
            assert part.dtype == (dtype if name == "affine" else mx.uint8)
    assert [p.shape for p in mx.quantize(mx.zeros((0, size)), **options(mode))][0][0] == 0
    assert mx.dequantize(*quantized((2, 0), mode)[0], **options(mode)).shape == (2, 0)


def test_defaults():
    w = mx.array(random(2, 128))
    for mode in [("affine", 4, 64), *FLOATS]:
        parts = mx.quantize(w, mode=mode[0])
        expected = mx.quantize(w, **options(mode))
        assert [p.tolist() for p in parts] == [p.tolist() for p in expected]
        assert_close(mx.dequantize(*parts, mode=mode[0], dtype=mx.float32), numbers_of(parts, mode))
        assert mx.dequantize(*parts, mode=mode[0]).dtype == (
            mx.float32 if mode[0] == "affine" else mx.bfloat16
        )


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_layouts(bits):
    w = mx.array(random(128, 6))
    mode = ("affine", bits, 32)
    contiguous = mx.array(np.ascontiguousarray(to_numpy(w).T))
    for a, b in zip(
        mx.quantize(w.T, **options(mode)), mx.quantize(contiguous, **options(mode)), strict=True
    ):
        assert a.tolist() == b.tolist()
    parts, numbers = quantized((7, 96), mode)
    some = [part[1::2] for part in parts]
    assert_close(mx.dequantize(*some, **options(mode)), numbers[1::2])
    x = random(96, 5)
    product = mx.quantized_matmul(mx.array(x).T, *some, **options(mode))
    assert_close(product, x.T @ numbers[1::2].T, scale=200)


def test_edges_of_floating_point():
    for value in (np.inf, np.nan):
        w = np.ones((1, 64), np.float32)
        w[0, 5] = value
        mx.eval(mx.quantize(mx.array(w)))  # defined by the kernels, not by the language
    parts = mx.quantize(mx.full((1, 64), 1e-30))
    assert to_numpy(mx.dequantize(*parts)).tolist() == [[0] * 64]
    tiny = mx.quantize(mx.full((1, 32), 1e-40), mode="mxfp4")
    assert tiny[1].tolist() == [[0]]


def test_a_global_scale():
    w = random(4, 64, seed=2)
    largest = mx.array(np.abs(w).max())
    parts = mx.quantize(mx.array(w), mode="nvfp4", global_scale=largest)
    factor = np.abs(w).max() / (448 * 6)
    numbers = numbers_of(parts, ("nvfp4", 4, 16)) * factor
    assert np.abs(numbers - w).max() < 0.5 and np.abs(parts[1]).max() == 126
    result = mx.dequantize(*parts, mode="nvfp4", global_scale=largest, dtype=mx.float32)
    assert_close(result, numbers)
    x = random(1, 3, 64)
    product = mx.gather_qmm(
        mx.array(x), parts[0][None], parts[1][None], mode="nvfp4", global_scale=largest
    )
    assert_close(product, x @ numbers.T, scale=200)


# Floats of 8 bits


def test_from_fp8():
    codes = np.arange(256, dtype=np.uint8)
    for dtype in (mx.float32, mx.float16, mx.bfloat16, mx.float64):
        result = mx.from_fp8(mx.array(codes), dtype)
        assert result.dtype == dtype
        np.testing.assert_array_equal(to_numpy(result), RECORDED["fp8"])
        np.testing.assert_array_equal(to_numpy(result), e4m3(codes))
    assert mx.from_fp8(mx.array(codes)).dtype == mx.bfloat16


@by_dtype
def test_to_fp8(dtype):
    x = random(4000) * np.exp(4 * random(4000, seed=1))
    middles = (e4m3(np.arange(126)) + e4m3(np.arange(1, 127))) / 2
    x = mx.array(np.concatenate([x, middles, -middles]).astype(np.float32)).astype(DTYPES[dtype])
    values, table = to_numpy(x).astype(np.float64), e4m3(np.arange(127))
    values = np.clip(values, -448, 448)
    nearest = np.abs(np.abs(values)[:, None] - table).argmin(1)
    other = np.minimum(nearest + 1, 126)  # a tie goes to the even one
    tie = np.abs(table[other] - np.abs(values)) == np.abs(table[nearest] - np.abs(values))
    expected = np.where(tie & (nearest % 2 == 1), other, nearest) + 128 * np.signbit(values)
    np.testing.assert_array_equal(np.array(mx.to_fp8(x)), expected)


def test_what_fp8_does_not_hold():
    x = mx.array([1e9, -1e9, np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-9, 464.0])
    assert mx.to_fp8(x).tolist() == [126, 254, 126, 254, 126, 0, 128, 0, 126]


# Products

# Rows of x, and sizes of the matrix in groups or rows: few rows and many, more than a tile.
SHAPES = [(1, 5, 2), (2, 8, 1), (3, 9, 3), (4, 3, 1), (7, 33, 2), (13, 70, 3), (70, 6, 1)]
# Many groups: more than have their scales loaded at once, more than a panel is deep.
SHAPES += [(2, 5, 19), (40, 19, 21)]


def rounding(x, w, size):
    """How much products may differ where numbers of x become integers of 16 bits."""
    groups = np.abs(x).reshape(len(x), -1, size)
    most = np.broadcast_to(groups.max(-1, keepdims=True), groups.shape).reshape(x.shape)
    return most / (2 * 32511) @ np.abs(w).T


@by_dtype
@by_mode
def test_products(mode, dtype):
    size = mode[2]
    for m, rows, groups in SHAPES:
        parts, w = quantized((rows, groups * size), mode, DTYPES[dtype], seed=m)
        for transpose, k in ((True, groups * size), (False, rows)):
            x = mx.array(random(m, k)).astype(DTYPES[dtype])
            product = mx.quantized_matmul(x, *parts, transpose=transpose, **options(mode))
            assert product.dtype == DTYPES[dtype]
            left, right = to_numpy(x).astype(np.float64), w.T if transpose else w
            expected, terms = left @ right, np.abs(left) @ np.abs(right)
            difference = np.abs(to_numpy(product) - expected).max()
            # Rounding: of the terms in float32, of the result in its dtype.
            unit = {"float32": 0, "float16": 2e-3, "bfloat16": 1.6e-2}[dtype]
            bound = unit * np.abs(expected).max() + 5e-7 * terms.max() + 1e-6
            if transpose:
                bound += rounding(left, w, size).max()
            assert difference <= bound, (m, rows, groups, transpose)


@pytest.mark.parametrize("rows", [1, 3, 11, 40])
@by_mode
def test_numbers_of_very_different_sizes(mode, rows):
    """A few numbers of x, and a few of the matrix, are much larger than the others."""
    rng = np.random.default_rng(rows)
    parts = mx.quantize(mx.array(rng.standard_t(2, (24, 768)).astype(np.float32)), **options(mode))
    w = numbers_of(parts, mode)
    x = (rng.standard_t(2, (rows, 768)) * 10.0 ** rng.integers(-6, 7, (rows, 1))).astype(np.float32)
    product = to_numpy(mx.quantized_matmul(mx.array(x), *parts, **options(mode)))
    left = x.astype(np.float64)
    terms = np.abs(left) @ np.abs(w.T)
    assert (np.abs(product - left @ w.T) <= 5e-7 * terms + rounding(left, w, mode[2])).all()


EXACT = """
import narrows.core as mx
import numpy as np

rng = np.random.default_rng(0)
parts = mx.quantize(mx.array(rng.normal(size=(24, 768)).astype(np.float32)))
w = np.array(mx.dequantize(*parts)).astype(np.float64)
worst = []
for rows in (1, 3, 40):
    x = rng.normal(size=(rows, 768)).astype(np.float32)
    product = np.array(mx.quantized_matmul(mx.array(x), *parts))
    left = x.astype(np.float64)
    worst.append((np.abs(product - left @ w.T) / (np.abs(left) @ np.abs(w.T))).max())
print(max(worst))
"""


@pytest.mark.parametrize("exact", ["0", "1"])
@pytest.mark.parametrize("isa", ["v2", "v3", "v4", "v3_vnni", "v4_vnni", "v4_amx"])
def test_all_bits_of_float32_are_kept_on_demand(isa, exact):
    """In a process of its own, because it is decided once. A level that the processor lacks is the
    next lower one."""
    environment = {**os.environ, "NARROWS_EXACT": exact, "NARROWS_CPU_ISA": isa}
    environment.pop("NARROWS_EMULATED_GPU", None)
    found = subprocess.run(
        [sys.executable, "-c", EXACT], env=environment, capture_output=True, text=True, check=True
    )
    assert float(found.stdout) < (5e-7 if exact == "1" else 5e-5)


@pytest.mark.parametrize("transpose", [True, False])
@by_dtype
def test_products_of_several_tiles(dtype, transpose, on_cpu):
    mode = ("affine", 4, 64)
    m, n, k = 530, 576, 1216
    shape = (n, k) if transpose else (k, n)
    parts, w = quantized(shape, mode, DTYPES[dtype])
    x = mx.array(random(m, k)).astype(DTYPES[dtype])
    product = mx.quantized_matmul(x, *parts, transpose=transpose, group_size=64, bits=4)
    expected = to_numpy(x).astype(np.float64) @ (w.T if transpose else w)
    unit = {"float32": 5e-5, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    assert np.abs(to_numpy(product) - expected).max() <= unit * np.abs(expected).max()


@pytest.mark.parametrize("m", [1, 2, 30])
def test_codes_that_are_no_numbers(m):
    codes, scales = mx.quantize(mx.ones((3, 64)), mode="mxfp8")
    words = np.array(codes)
    words[1, 9] |= 0x7F00
    for w in (mx.array(words), mx.array(words | np.uint32(0x8000))):
        product = to_numpy(mx.quantized_matmul(mx.zeros((m, 64)), w, scales, mode="mxfp8"))
        assert np.isnan(product).any(0).tolist() == [False, True, False]
        assert np.isnan(product[:, 1]).all() and not product[:, ::2].any()


# Shapes of stacks: of x, of the matrices.
STACKS = [
    ((), ()),
    ((2, 3), ()),
    ((2,), (2,)),
    ((2,), (1,)),
    ((5, 1), (2,)),
    ((), (3,)),
    ((3, 1), (1, 2)),
    ((0,), ()),
]


@pytest.mark.parametrize("stacks", STACKS, ids=str)
@pytest.mark.parametrize("transpose", [True, False])
def test_stacks_broadcast(stacks, transpose):
    mode = ("affine", 4, 32)
    parts, w = quantized((*stacks[1], 32, 64), mode)
    x = random(*stacks[0], 3, 64 if transpose else 32)
    product = mx.quantized_matmul(mx.array(x), *parts, transpose=transpose, **options(mode))
    assert_close(product, x @ (np.swapaxes(w, -1, -2) if transpose else w), scale=200)


def test_a_vector_is_a_row():
    parts, w = quantized((5, 64), ("affine", 4, 64))
    x = random(64)
    assert_close(mx.quantized_matmul(mx.array(x), *parts), w @ x, scale=200)


def test_dtypes_are_promoted():
    parts, w = quantized((5, 64), ("affine", 4, 64), mx.float16)
    x = random(2, 64)
    product = mx.quantized_matmul(mx.array(x), *parts)
    assert product.dtype == mx.float32
    assert_close(product, x @ w.T, scale=200)
    half = mx.quantized_matmul(mx.array(x).astype(mx.bfloat16), parts[0], *[
        part.astype(mx.float32) for part in parts[1:]
    ])  # fmt: skip
    assert half.dtype == mx.float32
    assert mx.dequantize(*parts).dtype == mx.float16
    assert mx.dequantize(*parts, dtype=mx.float32).dtype == mx.float32


def test_sums_over_nothing():
    parts = mx.quantize(mx.zeros((0, 64)))
    product = mx.quantized_matmul(mx.zeros((2, 0)), *parts, transpose=False)
    assert product.tolist() == [[0] * 64] * 2
    assert mx.quantized_matmul(mx.zeros((0, 64)), *mx.quantize(mx.ones((3, 64)))).shape == (0, 3)


# Shapes of x and of the matrices' stack, indices of both.
GATHERS = {
    "right": ((5, 2), (3,), None, [0, 1, 2, 0, 1]),
    "left": ((5, 2), (3,), [4, 0, 4], None),
    "both": ((5, 2), (3,), [[0], [4]], [1, 2]),
    "one row": ((1, 1), (3,), None, [2, 2, 0, -1]),
    "experts": ((4, 1, 1), (3,), None, [[0, 1], [2, 0], [1, 1], [0, 2]]),
    "many rows": ((2, 20), (3,), [1, 0], [2, 2]),
    "sorted": ((60, 1), (3,), None, [0] * 14 + [1] * 3 + [2] * 43),
    "neighbours": ((5, 7), (3,), [0, 1, 2, 2, 3], [1, 1, 1, 1, 0]),
    "nothing": ((5, 2), (3,), [], []),
}


@pytest.mark.parametrize("name", GATHERS)
@pytest.mark.parametrize("transpose", [True, False])
@pytest.mark.parametrize(
    "mode",
    [("affine", 4, 32), ("affine", 3, 32), ("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)],
    ids=str,
)
def test_gather_qmm(name, transpose, mode):
    (*stack, m), matrices, lhs, rhs = GATHERS[name]
    parts, w = quantized((*matrices, 32, 64), mode)
    x = random(*stack, m, 64 if transpose else 32)
    indices = {"lhs_indices": lhs, "rhs_indices": rhs}
    given = {k: mx.array(v, mx.int32) for k, v in indices.items() if v is not None}
    product = mx.gather_qmm(mx.array(x), *parts, transpose=transpose, **given, **options(mode))
    flat = x.reshape(-1, *x.shape[-2:])
    left = np.arange(len(flat)).reshape(stack) if lhs is None else np.array(lhs, int)
    right = np.arange(len(w)) if rhs is None else np.array(rhs, int)
    left, right = np.broadcast_arrays(left, right)
    expected = flat[left] @ (np.swapaxes(w[right], -1, -2) if transpose else w[right])
    assert_close(product, expected, scale=200)


def test_gather_qmm_without_indices():
    parts, w = quantized((3, 8, 64), ("affine", 4, 64))
    x = random(3, 2, 64)
    assert_close(mx.gather_qmm(mx.array(x), *parts), x @ np.swapaxes(w, -1, -2), scale=200)


# Transformations


def composed(x, codes, scales, biases, transpose, bits):
    """The product by operations whose derivatives are tested elsewhere."""
    count = codes.shape[-1] * 32 // bits
    values = mx.array(unpacked(codes, bits).astype(np.float32)).reshape(*codes.shape[:-1], -1, 32)
    w = (values * scales[..., None] + biases[..., None]).reshape(*codes.shape[:-1], count)
    return x @ (w.swapaxes(-1, -2) if transpose else w)


@pytest.mark.parametrize("transpose", [True, False])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (1,)], ids=str)
def test_derivatives(shape, transpose):
    how = {"group_size": 32, "bits": 5, "transpose": transpose}
    codes, scales, biases = mx.quantize(mx.array(random(32, 64)), 32, 5)
    x = mx.array(random(*shape, 64 if transpose else 32))

    def ours(x, scales, biases):
        return mx.quantized_matmul(x, codes, scales, biases, **how)

    def expected(x, scales, biases):
        return composed(x, codes, scales, biases, transpose, 5)

    args = [x, scales, biases]
    weights = mx.array(random(*shape, 32 if transpose else 64, seed=5))
    for a, b in zip(
        mx.vjp(ours, args, [weights])[1], mx.vjp(expected, args, [weights])[1], strict=True
    ):
        assert_close(a, to_numpy(b), scale=200)
    tangents = [mx.array(random(*a.shape, seed=7)) for a in args]
    for a, b in zip(mx.jvp(ours, args, tangents), mx.jvp(expected, args, tangents), strict=True):
        assert_close(a[0], to_numpy(b[0]), scale=500)


@pytest.mark.parametrize("transpose", [True, False])
def test_derivatives_of_gather_qmm(transpose):
    codes, scales, biases = mx.quantize(mx.array(random(3, 32, 64)), 32, 5)
    x = mx.array(random(4, 2, 64 if transpose else 32))
    lhs, rhs = mx.array([0, 3, 3, 1]), mx.array([2, 0, 2, 2])

    def ours(x, scales, biases):
        return mx.gather_qmm(x, codes, scales, biases, lhs, rhs, transpose, 32, 5)

    def expected(x, scales, biases):
        return composed(x[lhs], codes[rhs], scales[rhs], biases[rhs], transpose, 5)

    args = [x, scales, biases]
    weights = mx.array(random(4, 2, 32 if transpose else 64, seed=5))
    for a, b in zip(
        mx.vjp(ours, args, [weights])[1], mx.vjp(expected, args, [weights])[1], strict=True
    ):
        assert_close(a, to_numpy(b), scale=200)


def test_derivatives_of_dequantize():
    codes, scales, biases = mx.quantize(mx.array(random(3, 64)), 32, 3)
    weights = random(3, 64, seed=1)
    of_scales, of_biases = mx.vjp(
        lambda s, b: mx.dequantize(codes, s, b, 32, 3), [scales, biases], [mx.array(weights)]
    )[1]
    groups = weights.reshape(3, 2, 32)
    assert_close(of_scales, (groups * unpacked(codes, 3).reshape(3, 2, 32)).sum(-1), scale=50)
    assert_close(of_biases, groups.sum(-1), scale=20)


def test_the_derivative_of_scales_reaches_the_ends_of_groups():
    w = mx.array(np.linspace(-3, 1, 32, dtype=np.float32).reshape(1, 32))
    gradient = to_numpy(mx.grad(lambda w: mx.quantize(w, 32, 4)[1].sum())(w))
    assert np.flatnonzero(gradient).tolist() == [0]  # scale = w[0] / code of zero


VMAPS = {
    "rows": (0, None, None, None),
    "matrices": (None, 0, 0, 0),
    "both": (0, 0, 0, 0),
    "scales": (None, None, 0, None),
    "another axis": (1, None, None, None),
}


@pytest.mark.parametrize("name", VMAPS)
def test_vmap(name):
    axes = VMAPS[name]
    codes, scales, biases = mx.quantize(mx.array(random(3, 8, 64)), 32, 4)
    args = [mx.array(random(3, 3, 64)), codes, scales, biases]
    args = [a if axis is not None else a[0] for a, axis in zip(args, axes, strict=True)]

    def product(x, codes, scales, biases):
        return mx.quantized_matmul(x, codes, scales, biases, group_size=32)

    result = mx.vmap(product, in_axes=axes)(*args)
    for i in range(3):
        entry = [
            a if axis is None else mx.take(a, i, axis) for a, axis in zip(args, axes, strict=True)
        ]
        assert_close(result[i], to_numpy(product(*entry)), scale=200)


def test_vmap_of_quantize_and_dequantize():
    w = mx.array(random(3, 4, 64))
    parts = mx.vmap(lambda w: mx.quantize(w))(w)
    assert [p.tolist() for p in parts] == [p.tolist() for p in mx.quantize(w)]
    numbers = mx.vmap(lambda *p: mx.dequantize(*p))(*parts)
    assert numbers.tolist() == mx.dequantize(*parts).tolist()


def test_vmap_of_gather_qmm():
    codes, scales, biases = mx.quantize(mx.array(random(3, 8, 64)), 32, 4)
    x, rhs = mx.array(random(2, 4, 1, 64)), mx.array([[0, 2, 1, 1], [2, 2, 0, 1]])

    def product(x, rhs):
        return mx.gather_qmm(x, codes, scales, biases, rhs_indices=rhs, group_size=32)

    result = mx.vmap(product)(x, rhs)
    for i in range(2):
        assert_close(result[i], to_numpy(product(x[i], rhs[i])), scale=200)


def test_compiled():
    parts = mx.quantize(mx.array(random(8, 64)))
    function = mx.compile(lambda x: mx.quantized_matmul(mx.exp(x), *parts) + 1)
    x = mx.array(random(2, 64))
    assert_close(function(x), to_numpy(mx.quantized_matmul(mx.exp(x), *parts) + 1))


@pytest.mark.parametrize("mode", [("affine", 4, 64), ("nvfp4", 4, 16)], ids=["affine", "nvfp4"])
def test_exported(tmp_path, mode):
    def function(x, w):
        parts = mx.quantize(w, **options(mode))
        rows = mx.quantized_matmul(x, *parts, **options(mode))
        pairs = mx.gather_qmm(
            x[None], *[p[None] for p in parts], rhs_indices=mx.array([0, 0]), **options(mode)
        )
        return rows, pairs, mx.dequantize(*parts, **options(mode), dtype=mx.float16)

    args = [mx.array(random(2, 64)), mx.array(random(8, 64))]
    mx.export_function(str(tmp_path / "f"), function, *args)
    for a, b in zip(mx.import_function(str(tmp_path / "f"))(*args), function(*args), strict=True):
        assert a.dtype == b.dtype and a.tolist() == b.tolist()


def test_weights_are_not_in_memory_as_floats(memory, on_cpu):
    n, k = 4096, 2048
    parts = mx.quantize(mx.zeros((n, k), mx.bfloat16))
    for m in (1, 64):
        x = mx.ones((m, k), dtype=mx.bfloat16)
        mx.eval(parts, x)
        before = mx.get_active_memory()
        mx.reset_peak_memory()
        mx.eval(mx.quantized_matmul(x, *parts))
        assert mx.get_peak_memory() - before < 8 << 20  # 32 MB as float32


# Errors

W = mx.zeros((4, 64))
CODES, SCALES, BIASES = mx.quantize(W)
X = mx.zeros((2, 64))
ERRORS = {
    "vector": (lambda: mx.quantize(W[0]), r"\[quantize\] w of shape \(64,\), expected two"),
    "size": (lambda: mx.quantize(W[:, :60]), r"w of shape \(4, 60\), .* group_size 64 as the last"),
    "integers": (lambda: mx.quantize(W.astype(mx.int32)), "dtype int32, expected float32, float16"),
    "float64": (lambda: mx.quantize(W.astype(mx.float64)), "dtype float64, expected float32"),
    "bits": (lambda: mx.quantize(W, bits=7), r"bits 7 for mode 'affine', expected 1, 2, .* or 8"),
    "group": (lambda: mx.quantize(W, 16), "group_size 16 for mode 'affine', expected 32, 64 or"),
    "mode": (lambda: mx.quantize(W, mode="q"), "mode 'q', expected 'affine', 'mxfp4', 'mxfp8' or"),
    "bits of mxfp4": (lambda: mx.quantize(W, bits=8, mode="mxfp4"), "bits 8 for .* expected 4"),
    "global scale": (
        lambda: mx.quantize(W, global_scale=mx.array(1.0)),
        "global_scale with mode 'affine', expected 'nvfp4'",
    ),
    "shape of global scale": (
        lambda: mx.quantize(W, mode="nvfp4", global_scale=mx.ones(2)),
        r"global_scale of shape \(2,\) and dtype float32, expected a float32 scalar",
    ),
    "no biases": (lambda: mx.dequantize(CODES, SCALES), "no biases for mode 'affine', expected"),
    "biases": (
        lambda: mx.dequantize(CODES, SCALES, BIASES, mode="mxfp4"),
        "biases for mode 'mxfp4', expected none",
    ),
    "scales of mxfp4": (
        lambda: mx.dequantize(CODES, SCALES, mode="mxfp4"),
        "scales of dtype float32 for mode 'mxfp4', expected uint8",
    ),
    "codes": (
        lambda: mx.dequantize(CODES.astype(mx.int32), SCALES, BIASES),
        "w of dtype int32, expected uint32",
    ),
    "codes of one dimension": (
        lambda: mx.dequantize(CODES[0], SCALES[0], BIASES[0]),
        r"w of shape \(8,\), expected two",
    ),
    "shape of scales": (
        lambda: mx.dequantize(CODES, SCALES[:2], BIASES),
        r"w of shape \(4, 8\) with scales of shape \(2, 1\) and biases of shape \(4, 1\)",
    ),
    "cut codes": (
        lambda: mx.dequantize(CODES[:, :7], SCALES, BIASES),
        r"w of shape \(4, 7\) .* expected shapes that fit mode 'affine', group_size 64 and bits 4",
    ),
    "integer scales": (
        lambda: mx.dequantize(CODES, SCALES.astype(mx.int32), BIASES),
        "scales of dtype int32 and biases of dtype float32, expected floats",
    ),
    "integer numbers": (
        lambda: mx.dequantize(CODES, SCALES, BIASES, dtype=mx.int32),
        r"\[dequantize\] dtype int32, expected float32",
    ),
    "inner size": (
        lambda: mx.quantized_matmul(X[:, :32], CODES, SCALES, BIASES),
        r"x of shape \(2, 32\) and a quantized matrix of shape \(4, 64\) .* expected 64 as",
    ),
    "inner size without transpose": (
        lambda: mx.quantized_matmul(X, CODES, SCALES, BIASES, transpose=False),
        "with transpose false, expected 4 as the last",
    ),
    "scalar": (
        lambda: mx.quantized_matmul(X[0, 0], CODES, SCALES, BIASES),
        r"x of shape \(\), expected one dimension",
    ),
    "float64 product": (
        lambda: mx.quantized_matmul(X.astype(mx.float64), CODES, SCALES, BIASES),
        r"\[quantized_matmul\] dtype float64, expected float32",
    ),
    "indices": (
        lambda: mx.gather_qmm(X, CODES, SCALES, BIASES, mx.zeros(2)),
        r"\[gather_qmm\] indices of dtype float32, expected integers",
    ),
    "shapes of indices": (
        lambda: mx.gather_qmm(
            X, CODES, SCALES, BIASES, mx.zeros(2, mx.int32), mx.zeros(3, mx.int32)
        ),
        r"\[gather_qmm\] shapes \(2,\) and \(3,\)",
    ),
    "gathered vector": (
        lambda: mx.gather_qmm(X[0], CODES, SCALES, BIASES, mx.array([0])),
        r"x of shape \(64,\), expected two dimensions",
    ),
    "to_fp8": (lambda: mx.to_fp8(mx.arange(3)), r"\[to_fp8\] dtype int32, expected floats"),
    "from_fp8": (lambda: mx.from_fp8(mx.arange(3)), r"\[from_fp8\] dtype int32, expected uint8"),
    "fp8 to integers": (
        lambda: mx.from_fp8(mx.zeros(3, mx.uint8), mx.int32),
        "result of dtype int32, expected floats",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        call()
