"""Kernels of programs: made everywhere, checked, and refused where no device runs them."""

import narrows.core as mx
import pytest

SOURCE = "o[0] = a[0];"
MAKERS = {"metal_kernel": mx.fast.metal_kernel, "cuda_kernel": mx.fast.cuda_kernel}
CALL = {
    "inputs": [mx.ones((3,)), 2],
    "output_shapes": [(3,)],
    "output_dtypes": [mx.float32],
    "grid": (3, 1, 1),
    "threadgroup": (3, 1, 1),
    "template": [("T", mx.float32), ("N", 3), ("flag", True)],
}
COMPILED = {
    "name": "k",
    "compiled_source": b"",
    "scalars": [1, 2.5, True],
    **{name: CALL[name] for name in CALL if name != "template"},
}
by_maker = pytest.mark.parametrize("name", MAKERS)


@by_maker
def test_kernels_are_made_without_a_device(name):
    kernel = MAKERS[name]("k", ["a", "b"], ["o"], SOURCE, header="// nothing")
    assert callable(kernel) and repr(kernel) == f"{name}(k)"
    needed = "Metal" if name == "metal_kernel" else "CUDA"
    with pytest.raises(RuntimeError, match=rf"\[{name}\] kernel 'k' .* expected .*{needed}"):
        kernel(**CALL)


def test_compiled_kernels():
    with pytest.raises(RuntimeError, match=r"kernel 'k' .* expected a device with CUDA"):
        mx.fast.precompiled_cuda_kernel(**COMPILED)


@by_maker
@pytest.mark.parametrize(
    "arguments, message",
    [
        (("", ["a"], ["o"], SOURCE), "name ''"),
        (("a b", ["a"], ["o"], SOURCE), "name 'a b'"),
        (("1k", ["a"], ["o"], SOURCE), "name '1k'"),
        (("k", ["a-"], ["o"], SOURCE), "parameter 'a-'"),
        (("k", ["a", "b"], ["a"], SOURCE), "two parameters 'a'"),
        (("k", ["a"], [], SOURCE), "output_names is empty"),
    ],
)
def test_wrong_kernels(name, arguments, message):
    with pytest.raises(ValueError, match=rf"\[{name}\] {message}"):
        MAKERS[name](*arguments)


def test_wrong_options():
    for options in (3, {"math_mode": "slow"}, {"other": "safe"}):
        with pytest.raises(ValueError, match="compile_options"):
            mx.fast.metal_kernel("k", ["a"], ["o"], SOURCE, compile_options=options)
    mx.fast.metal_kernel("k", [], ["o"], SOURCE, compile_options={"math_mode": "fast"})
    with pytest.raises(ValueError, match="shared_memory -1"):
        mx.fast.cuda_kernel("k", ["a"], ["o"], SOURCE, shared_memory=-1)


WRONG = [
    ({"output_dtypes": []}, ValueError, "output_dtypes"),
    ({"output_shapes": [(-1,)]}, ValueError, "negative"),
    ({"output_shapes": [(2**40, 2**40)]}, (ValueError, OverflowError), "shape"),
    ({"grid": (0, 1, 1)}, ValueError, "grid"),
    ({"grid": (2**40, 2**40, 1)}, ValueError, "grid"),
    ({"threadgroup": (1025, 1, 1)}, ValueError, "threadgroup"),
    ({"threadgroup": (32, 33, 1)}, ValueError, "threadgroup"),
    ({"grid": (1, 1)}, TypeError, "grid"),
    ({"inputs": ["a", "b"]}, (TypeError, ValueError), None),
]


@by_maker
@pytest.mark.parametrize(
    "change, error, message",
    [
        *WRONG,
        ({"inputs": [1]}, ValueError, "1 inputs, expected 2"),
        ({"output_shapes": []}, ValueError, "0 output_shapes, expected 1"),
        ({"template": [("a b", 1)]}, ValueError, "template argument 'a b'"),
        ({"template": [("T", "float")]}, TypeError, None),
    ],
)
def test_wrong_calls(name, change, error, message):
    kernel = MAKERS[name]("k", ["a", "b"], ["o"], SOURCE)
    with pytest.raises(error, match=message):
        kernel(**CALL | change)


@pytest.mark.parametrize(
    "change, error, message",
    [
        *WRONG,
        ({"name": "a.b"}, ValueError, "name 'a.b'"),
        ({"scalars": ["1"]}, TypeError, "scalar of type str"),
        ({"shared_memory": -1}, ValueError, "shared_memory"),
        ({"compiled_source": "text"}, TypeError, None),
    ],
)
def test_wrong_calls_of_compiled_kernels(change, error, message):
    with pytest.raises(error, match=message):
        mx.fast.precompiled_cuda_kernel(**COMPILED | change)
