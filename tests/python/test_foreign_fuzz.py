"""Random exporters, most of them lying: the right values or an error, and everything is given back.

A case is made of fields, each right or, sometimes, wrong. What can be told to be wrong has to be
refused. Where all fields fit together, the elements lie in memory that the test owns: nobody could
tell otherwise.
"""

import gc
import os
import random

import narrows.core as mx
import numpy as np
import pytest
from exporters import BufferExporter, Interface, Method, TensorExporter
from support import to_numpy

SEEDS = int(os.environ.get("NARROWS_FOREIGN_SEEDS", "8"))
CASES = 250  # of each protocol for each seed
ERRORS = (ValueError, TypeError, OverflowError, MemoryError)

ARENA = np.random.default_rng(0).integers(0, 256, 1 << 16, dtype=np.uint8)
MIDDLE = ARENA.size // 2
ADDRESS = ARENA.ctypes.data + MIDDLE

# So large that no memory is read for them.
LARGE = [2**45, 2**62, 2**63 - 1]
# NumPy's code, buffer format, code of DLPack.
TYPES = [
    ("?", b"?", 6),
    *((f"u{n}", f, 1) for n, f in [(1, b"B"), (2, b"<H"), (4, b"=I"), (8, b"Q")]),
    *((f"i{n}", f, 0) for n, f in [(1, b"b"), (2, b"@h"), (4, b"i"), (8, b"l")]),
    *((f"f{n}", f, 2) for n, f in [(2, b"e"), (4, b"f"), (8, b"<d")]),
    *((f"c{n}", f, 5) for n, f in [(8, b"Zf"), (16, b"Zd")]),
]
ODD_FORMATS = [None, b"", b"<", b">f", b"!q", b"T{<f:x:}", b"O", b"g", b"2f", b"Z", b"P", b"\xff"]
ODD_TYPESTRS = [None, 3, "", "<", ">f4", "<f", "<f16", "|O8", "<M8[s]", "<V2", "<U4", "f4", "<f4 "]


class Case:
    """Fields of an array that is right, until one of them is spoilt."""

    def __init__(self, rng):
        self.rng = rng
        self.code, self.format, self.dlpack_code = rng.choice(TYPES)
        self.dtype = np.dtype(self.code)
        self.itemsize = self.dtype.itemsize
        self.shape = [rng.choice([0, 1, 1, 2, 3, 5]) for _ in range(rng.randrange(5))]
        self.strides = self.make_strides()
        self.offset = rng.choice([0, 0, 1, 3, self.itemsize])
        self.is_right = True

    def make_strides(self):
        if self.rng.random() < 0.4:
            return None
        unit = self.rng.choice([self.itemsize, self.itemsize, 1])
        return [unit * self.rng.randint(-9, 9) for _ in self.shape]

    def maybe(self, right, *wrong):
        """The right value or, seldom, one of the others, after which the case is wrong."""
        if self.rng.random() > 0.08:
            return right
        value = self.rng.choice(wrong)
        self.is_right &= value is right
        return value

    def spoilt_sizes(self, sizes, wrong):
        if not sizes or self.rng.random() > 0.08:
            return sizes
        sizes = list(sizes)
        sizes[self.rng.randrange(len(sizes))] = self.rng.choice(wrong)
        self.is_right = False
        return sizes

    def expected(self):
        """The elements, by NumPy; nothing where they would lie outside of the arena."""
        strides = self.strides or np.zeros(self.shape, self.dtype).strides
        start = MIDDLE + self.offset
        if 0 in self.shape:
            return np.zeros(self.shape, self.dtype)
        reach = [s * (n - 1) for s, n in zip(strides, self.shape, strict=True)]
        assert start + sum(r for r in reach if r < 0) >= 0
        assert start + sum(r for r in reach if r > 0) + self.itemsize <= ARENA.size
        view = np.ndarray(self.shape, self.dtype, ARENA.data, start, strides)
        return view.view(np.uint8) != 0 if self.code == "?" else view.copy()


def make_buffer(case):
    itemsize = case.maybe(case.itemsize, 0, -1, 3, 2 * case.itemsize, 2**62)
    shape = case.spoilt_sizes(case.shape, [-1, -(2**63), *LARGE])
    length = int(np.prod(case.shape, dtype=object)) * case.itemsize
    return BufferExporter(
        fails=case.maybe(False, True),
        buf=ADDRESS + case.offset,
        len=case.maybe(length, -1, length + 1, length - 1, 2**63 - 1),
        itemsize=itemsize,
        ndim=case.maybe(len(shape), -1, 65, 2**31 - 1),
        format=case.maybe(case.format, *ODD_FORMATS),
        shape=shape,
        strides=case.strides,
        suboffsets=case.maybe(None, [0] * 64),
    )


def make_interface(case):
    shape = tuple(case.spoilt_sizes(case.shape, [-1, 2**70, 1.5, "2", None, *LARGE]))
    strides = None if case.strides is None else tuple(case.strides)
    fields = {
        "typestr": case.maybe(case.dtype.str, *ODD_TYPESTRS),
        "shape": case.maybe(shape, list(shape), None, 3, shape + (2**62, 2**62)),
        "strides": case.maybe(strides, (1,) * (len(shape) + 1), [1], "x"),
        "data": (ADDRESS + case.offset, False),
        "mask": case.maybe(None, object()),
    }
    if case.rng.random() < 0.4:
        in_arena = MIDDLE + case.offset
        fields["data"] = case.maybe(ARENA, ARENA[:1], b"", object(), 3)
        fields["offset"] = case.maybe(in_arena, -1, ARENA.size + 1, 2**70, "1", -(2**63))
    else:
        fields["data"] = case.maybe(fields["data"], (None, 1), (2**70, True), (1.5, 1), (), "x")
    source = Interface(**fields)
    missing = case.maybe(None, "typestr", "shape")
    if missing:
        del source.__array_interface__[missing]
    return source


def make_tensor(case):
    if case.strides:  # DLPack counts in elements
        case.strides = [case.itemsize * case.rng.randint(-9, 9) for _ in case.shape]
    strides = case.strides and [s // case.itemsize for s in case.strides]
    shape = case.spoilt_sizes(case.shape, [-1, -(2**63), *LARGE])
    version = case.rng.choice([None, (1, 0), (1, 3)])
    right = b"dltensor_versioned" if version else b"dltensor"
    return TensorExporter(
        name=case.maybe(right, b"dltensor ", b"used_dltensor", b"", b"x"),
        version=version and case.maybe(version, (0, 5), (2, 0), (2**32 - 1, 0)),
        device=case.maybe((1, 0), (2, 0), (-1, 0), "cpu", 1, (1,), ("1", 0), (2**70, 0), None),
        data=ADDRESS,
        byte_offset=case.maybe(case.offset, 2**63, 2**64 - 1),
        device_type=case.maybe(1, 0, 2, 13, -1),
        code=case.maybe(case.dlpack_code, 3, 7, 200),
        bits=case.maybe(8 * case.itemsize, 0, 1, 4, 7, 24, 255),
        lanes=case.maybe(1, 0, 2, 65535),
        ndim=case.maybe(len(shape), -1, 65, 2**31 - 1),
        shape=shape,
        strides=strides,
    )


def make_method(case):
    inner = make_interface(case)
    wrong = object()
    kind = case.maybe("inner", "none", "object", "text", "raise", "itself")
    source = Method(None)

    def make():
        if kind == "raise":
            raise case.rng.choice([RuntimeError, BufferError, AttributeError])
        return {"inner": inner, "none": None, "text": "x", "itself": source}.get(kind, wrong)

    source.make = make
    return source


MAKERS = {
    "buffer": make_buffer,
    "interface": make_interface,
    "dlpack": make_tensor,
    "method": make_method,
}


def uses(source, rng):
    """The ways in."""
    return rng.choice(
        [
            lambda: mx.array(source),
            lambda: mx.asarray(source, copy=True),
            lambda: mx.array([source])[0],
            lambda: mx.array([source, source])[1],
        ]
    )


def narrowed(values):
    if values.dtype == np.float64:
        return values.astype(np.float32)
    return values.astype(np.complex64) if values.dtype == np.complex128 else values


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("protocol", MAKERS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of overflow in its casts
def test_random_exporters(protocol, seed):
    rng = random.Random(f"{protocol} {seed}")
    outcomes = {"right": 0, "refused": 0}
    gc.collect()
    before = mx.get_active_memory()
    for _ in range(CASES):
        case = Case(rng)
        source = MAKERS[protocol](case)
        try:
            a = uses(source, rng)()
            mx.eval(a)
        except ERRORS:
            if case.is_right:
                raise
            outcomes["refused"] += 1
        else:
            if case.is_right:
                np.testing.assert_array_equal(to_numpy(a), narrowed(case.expected()))
            outcomes["right"] += case.is_right
            del a
        if protocol == "buffer":
            assert source.exports == 0
        if protocol == "dlpack":
            gc.collect(0)
            assert source.deletions == source.capsules
    assert min(outcomes.values()) > CASES // 10, outcomes
    assert mx.get_active_memory() == before


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_lists(seed):
    """Lists of numbers and arrays, some with one entry that does not fit beside the others."""
    rng = random.Random(seed)
    for _ in range(CASES):
        shape = [rng.choice([2, 3]) for _ in range(rng.randint(1, 4))]
        values = np.array([rng.randint(0, 99) for _ in range(int(np.prod(shape)))]).reshape(shape)
        is_right = True

        # One mistake at most, and beside something right: else the list may have another shape.
        def pack(x, depth, siblings):
            nonlocal is_right
            kind = rng.random()
            if is_right and siblings > 1 and kind < 0.02:
                is_right = False
                return rng.choice([[1] * 7, "x", None, np.zeros(7), mx.zeros((7,)), [[]], {}])
            if depth and (x.ndim == 0 or kind < 0.35):
                makes = [np.asarray, mx.array, lambda x: Method(lambda: np.asarray(x))]
                return rng.choice([*makes, *([int, float] if x.ndim == 0 else [])])(x)
            return rng.choice([list, tuple])(pack(row, depth + 1, len(x)) for row in x)

        packed = pack(values, 0, 1)
        if is_right:
            np.testing.assert_array_equal(to_numpy(mx.array(packed)), values)
        else:
            with pytest.raises(ValueError, match=r"\[array\]"):
                mx.array(packed)
