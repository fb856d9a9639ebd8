"""mx.export_function, mx.exporter and mx.import_function: functions kept in files."""

import pathlib
import re

import narrows.core as mx
import numpy as np
import pytest
import transform_cases
from support import DTYPES, FLOATING, to_numpy

CASES = transform_cases.all_cases()

# What takes no differentiable arguments, or is an operation that those cases do not record.
A = (3, 4)
EXTRA = {
    "comparisons": (lambda a, b: ((a > b) & (a != b)) | ~(a <= b), [A, A]),
    "integers": (lambda a: ((a * 9).astype(mx.int32) << 2) // 3 % 5, [A]),
    "full and arange": (lambda a: a + mx.arange(4) * mx.full((3, 1), 2.5), [A]),
    "arange of fractions": (lambda a: a + mx.arange(0.1, 0.9, 0.2), [A]),
    "indices among the arguments": (
        lambda a: (
            mx.take(a, (a * 9).astype(mx.int64), axis=1)
            + mx.take_along_axis(a, (a * 3).astype(mx.int8), 0).sum()
        ),
        [A],
    ),
    "batched scatter": (
        mx.vmap(lambda a, b: a.at[(b * 3).astype(mx.int32)].maximum(b)),
        [(2, 4), (2, 3)],
    ),
    "number of elements": (lambda a: mx.mean(a, axis=0) + mx.var(a), [A]),
    "argmax": (lambda a: mx.argmax(a, axis=1), [A]),
    "argmin of all": (lambda a: mx.argmin(a), [A]),
    "argmin keepdims": (lambda a: mx.argmin(a, axis=0, keepdims=True), [A]),
    "batched argmax": (mx.vmap(lambda a: mx.argmax(a)), [(5, 3, 4)]),
    "all and any": (lambda a: mx.all(a > 0, axis=0) | mx.any(a > 0.9, axis=0), [A]),
    "cummax, cummin": (lambda a: mx.cummax(a, axis=0) - mx.cummin(a, axis=1), [A]),
    "view": (lambda a: mx.view(a, mx.uint16), [A]),
    "diagonal": (lambda a: mx.diagonal(a, -1), [A]),
    "stop_gradient": (lambda a: mx.stop_gradient(a) * a, [A]),
    "checkpoint": (mx.checkpoint(lambda a: mx.exp(mx.sin(a))), [A]),
    "compiled": (mx.compile(lambda a: mx.exp(mx.sin(a)) + 1), [A]),
    "random bits": (lambda a: a * mx.random.uniform(shape=A, key=mx.random.key(3)), [A]),
    "batched random bits": (
        mx.vmap(lambda a: mx.random.uniform(shape=(3,), key=(a * 99).astype(mx.uint32))),
        [(4, 2)],
    ),
    "gradient": (mx.grad(lambda a: mx.sum(mx.softmax(a) * mx.log(mx.abs(a)))), [A]),
    "gradient of as_strided": (
        mx.grad(lambda a: mx.sum(transform_cases.sliding(a) ** 2)),
        [(7,)],
    ),
    "batched gradient of as_strided": (
        mx.vmap(mx.grad(lambda a: mx.sum(transform_cases.sliding(a) ** 2))),
        [(2, 7)],
    ),
    "gradient of a split": (mx.grad(lambda a: mx.sum(mx.split(a, [1, 3])[1] ** 2)), [(5,)]),
    "second derivative": (mx.grad(mx.grad(lambda a: mx.sin(a) * a)), [()]),
    "batched matmul": (mx.vmap(lambda a, b: a @ b), [(2, 3, 4), (2, 4, 3)]),
    "convolution": (
        lambda a, b: mx.conv_general(a, b, 2, ([1, 0], [0, 2]), 2, (1, 3), 2, True),
        [(1, 4, 5, 2), (2, 2, 2, 1)],
    ),
    "transposed convolution": (
        lambda a, b: mx.conv_transpose1d(a, b, 3, 1, 2, 1),
        [(2, 4, 3), (4, 2, 3)],
    ),
    "gradients of a convolution": (
        mx.grad(lambda a, b: mx.sum(mx.conv2d(a, b, (2, 1), 1) ** 2), argnums=(0, 1)),
        [(1, 4, 5, 2), (3, 2, 2, 2)],
    ),
    "argument as it is": (lambda a: (a, a + 1, a), [A]),
    "constant": (lambda a: [mx.array([1.0, 2.0])], [A]),
}


def exported(path, function, *args, **options):
    mx.export_function(str(path), function, *args, **options)
    return mx.import_function(str(path))


def as_list(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


def assert_same(actual, expected):
    actual, expected = as_list(actual), as_list(expected)
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


@pytest.mark.parametrize("dtype", [mx.float32, mx.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_imported_functions_give_the_same_bits(tmp_path, name, dtype):
    function, shapes, bounds = CASES[name]
    like = transform_cases.arguments(shapes, bounds, dtype)
    imported = exported(tmp_path / "f", function, *like)
    args = transform_cases.arguments(shapes, bounds, dtype, seed=1)
    assert_same(imported(*args), function(*args))


@pytest.mark.parametrize("name", EXTRA)
def test_imported_functions_give_the_same_bits_elsewhere(tmp_path, name):
    function, shapes = EXTRA[name]
    like = transform_cases.arguments(shapes, (0.1, 1), mx.float32)
    imported = exported(tmp_path / "f", function, *like)
    args = transform_cases.arguments(shapes, (0.1, 1), mx.float32, seed=1)
    assert_same(imported(*args), function(*args))


@pytest.mark.parametrize("name", CASES)
def test_imported_functions_have_the_same_derivatives(tmp_path, name):
    function, shapes, bounds = CASES[name]
    args = transform_cases.arguments(shapes, bounds)
    imported = exported(tmp_path / "f", function, *args)
    tangents = transform_cases.arguments(shapes, (-1, 1), seed=2)
    outputs, changes = mx.jvp(lambda *a: as_list(function(*a)), args, tangents)
    imported_outputs, imported_changes = mx.jvp(imported, args, tangents)
    assert_same(imported_outputs, outputs)
    assert_same(imported_changes, changes)
    cotangents = [mx.ones_like(output) for output in outputs]
    assert_same(
        mx.vjp(imported, args, cotangents)[1],
        mx.vjp(lambda *a: as_list(function(*a)), args, cotangents)[1],
    )


def test_other_transformations_apply_to_imported_functions(tmp_path):
    def function(a, b):
        return mx.softmax(a * 2) @ b

    a, b = transform_cases.arguments([(4,), (4, 2)], (-1, 1), mx.float32)
    imported = exported(tmp_path / "f", function, a, b)
    batch = mx.stack([a, a * 2, a * 3])
    assert_same(
        mx.vmap(lambda x, y: imported(x, y)[0], in_axes=(0, None))(batch, b),
        mx.vmap(function, in_axes=(0, None))(batch, b),
    )
    assert_same(mx.compile(imported)(a, b), function(a, b))
    again = exported(tmp_path / "g", lambda x, y: imported(x, y)[0] + 1, a, b)
    assert_same(again(a, b), function(a, b) + 1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_constants_of_any_dtype_and_layout(tmp_path, dtype):
    values = mx.array(np.arange(12).reshape(3, 4)).astype(dtype)
    constants = [values, values.T, values[1, ::2], values[:0], values[0, 1]]
    lazy = values + values
    imported = exported(tmp_path / "f", lambda a: [*constants, lazy, a], mx.array(1))
    assert_same(imported(mx.array(2)), [*constants, lazy, mx.array(2)])


@pytest.mark.parametrize("dtype", FLOATING + [mx.complex64], ids=str)
def test_numbers_that_are_no_numbers_stay(tmp_path, dtype):
    special = [mx.nan, mx.inf, -mx.inf, -0.0]
    imported = exported(
        tmp_path / "f",
        lambda a: (
            mx.array(special, dtype=dtype),
            *(mx.full((2,), x, dtype=dtype) for x in special),
        ),
        mx.array(1),
    )
    first, *others = imported(mx.array(1))
    for i, other in enumerate(others):
        np.testing.assert_array_equal(to_numpy(other)[0], to_numpy(first)[i])
    assert np.signbit(to_numpy(first)[3].real) and np.signbit(to_numpy(others[3])[0].real)


def test_arguments_by_position_and_by_name(tmp_path):
    def function(a, b=None, *, scale, shift=None):
        result = a * scale
        return result if shift is None else result + shift

    a, b, scale, shift = mx.array([1.0, 2.0]), mx.array(9), mx.array(3.0), mx.array([1.0, 1.0])
    imported = exported(tmp_path / "f", function, a, shift=shift, scale=scale)
    expected = function(a, scale=scale, shift=shift)
    for result in [
        imported(a, scale=scale, shift=shift),
        imported((a,), {"shift": shift, "scale": scale}),
        imported([a], {"shift": shift, "scale": scale}),
    ]:
        assert isinstance(result, tuple)
        assert_same(result, expected)
    assert_same(exported(tmp_path / "g", lambda a, b: a - b, (shift, a))((a, shift)), a - shift)
    assert_same(
        exported(tmp_path / "h", lambda a, b: a - b, {"a": a, "b": shift})(a=a, b=shift), a - shift
    )
    assert_same(exported(tmp_path / "i", lambda: mx.arange(3))(), mx.arange(3))
    for args, kwargs in [
        ((a,), {}),
        ((a, b), {"scale": scale, "shift": shift}),
        ((a,), {"scale": scale, "shift": shift, "other": shift}),
        ((a,), {"scale": scale, "offset": shift}),
        ((mx.array([1.0, 2.0, 3.0]),), {"scale": scale, "shift": shift}),
        ((mx.array([1, 2]),), {"scale": scale, "shift": shift}),
    ]:
        with pytest.raises(ValueError, match=r"\[import_function\] called with .*expected one of"):
            imported(*args, **kwargs)


def test_an_exporter_keeps_several_recordings(tmp_path):
    path = tmp_path / "f"
    weights = mx.random.normal((1000,))

    def function(*args, scale=None):
        result = sum(args[1:], args[0]) * weights[0]
        return result if scale is None else result * scale

    kinds = [
        ([mx.array([1.0])], {}),
        ([mx.array([1.0])], {"scale": mx.array(2.0)}),
        ([mx.array([1.0]), mx.array([2.0])], {}),
        ([mx.array([1.0, 2.0])], {}),
        ([mx.array([3])], {}),
    ]
    with mx.exporter(str(path), function, metadata='{"layers": 3}') as export:
        for args, kwargs in kinds:
            export(*args, **kwargs)
        with pytest.raises(ValueError, match="already"):
            export(mx.array([7.0]))
    with pytest.raises(ValueError, match="closed"):
        export(mx.array([[7.0]]))
    imported, metadata = mx.import_function(str(path), return_metadata=True)
    assert metadata == '{"layers": 3}'
    for args, kwargs in kinds:
        assert_same(imported(*args, **kwargs), function(*args, **kwargs))
    assert path.stat().st_size < 2 * weights.nbytes  # they are stored once


def test_an_exporter_writes_when_it_is_closed(tmp_path):
    path = tmp_path / "f"
    export = mx.exporter(str(path), lambda a: a + 1)
    export(mx.array(1))
    assert not path.exists()
    export.close()
    export.close()
    assert_same(mx.import_function(str(path))(mx.array(2)), mx.array(3))
    with pytest.raises(KeyError), mx.exporter(str(tmp_path / "g"), lambda a: a) as export:
        export(mx.array(1))
        raise KeyError
    assert not (tmp_path / "g").exists()


def test_paths_may_be_objects(tmp_path):
    mx.export_function(tmp_path / "f", mx.exp, mx.array(1.0), metadata="text é")
    assert mx.import_function(pathlib.Path(tmp_path / "f"), return_metadata=True)[1] == "text é"
    mx.export_function(tmp_path / "f", mx.exp, mx.array(1.0))
    assert mx.import_function(tmp_path / "f", True)[1] == ""


SHAPELESS = {
    "elementwise": lambda a: mx.abs(a) * 2 + 1,
    "sum": lambda a: mx.sum(a, axis=1, keepdims=True) * a,
    "mean": lambda a: a - mx.mean(a, axis=0),
    "mean of all": lambda a: mx.mean(a),
    "var": lambda a: mx.var(a, axis=1, ddof=1),
    "std": lambda a: mx.std(a, axis=(0, 1)),
    "argmax": lambda a: mx.argmax(a, axis=0),
    "matmul": lambda a: a @ a.T,
    "softmax": lambda a: mx.softmax(a, axis=0),
    "cumsum": lambda a: mx.cumsum(a, axis=1),
    "pad": lambda a: mx.pad(a, ((1, 2), (0, 1))),
    "concatenate": lambda a: mx.concatenate([a, a * 2], axis=0),
    "expand_dims": lambda a: mx.expand_dims(a, (0, 3)),
}


@pytest.mark.parametrize("like", [(2, 3), (1, 1)], ids=str)
@pytest.mark.parametrize("name", SHAPELESS)
def test_shapeless_functions_take_other_shapes(tmp_path, name, like, every_node_is_a_step):
    function = SHAPELESS[name]
    imported = exported(tmp_path / "f", function, mx.ones(like), shapeless=True)
    for shape in [(2, 3), (5, 4), (3, 1)]:
        (a,) = transform_cases.arguments([shape], (-1, 1), mx.float32)
        assert_same(imported(a), function(a))
    for wrong in [mx.ones((3,)), mx.ones((1, 2, 3)), mx.ones((2, 3), dtype=mx.int32)]:
        with pytest.raises(ValueError, match="or other shapes of the same ranks"):
            imported(wrong)


def test_shapeless_functions_refuse_shapes_that_their_operations_do_not_fit(tmp_path):
    reshaped = exported(tmp_path / "f", lambda a: a.reshape(6), mx.ones((2, 3)), shapeless=True)
    assert_same(reshaped(mx.ones((1, 6))), mx.ones(6))
    with pytest.raises(ValueError, match=re.escape("[reshape] 15 elements")):
        reshaped(mx.ones((5, 3)))
    gradient = mx.grad(lambda a: mx.sum(mx.exp(a) * a))  # of a sum: it has the input's shape
    refusing = exported(tmp_path / "f", gradient, mx.ones((2, 3)), shapeless=True)
    assert_same(refusing(mx.ones((2, 3))), gradient(mx.ones((2, 3))))
    with pytest.raises(ValueError, match="cannot be broadcast"):
        refusing(mx.ones((5, 4)))
    for function in [lambda a: a[1:], lambda a: mx.split(a, [1])]:
        imported = exported(tmp_path / "f", function, mx.ones((2, 3)), shapeless=True)
        assert_same(imported(mx.ones((2, 3))), function(mx.ones((2, 3))))
        with pytest.raises(ValueError, match=re.escape("was recorded of an array of shape (2, 3)")):
            imported(mx.ones((5, 3)))


def test_errors_of_exports(tmp_path):
    path = str(tmp_path / "f")
    a = mx.array([1.0, 2.0])
    for result in [3, None, "text", {"a": a}, [a, 3], [a, (a, a)]]:
        with pytest.raises(ValueError, match=r"\[export_function\] the function returned"):
            mx.export_function(path, lambda _, result=result: result, a)
    for argument in [3, "text", None, [[a]], {"a": 3}, {3: a}]:
        with pytest.raises(ValueError, match=r"\[export_function\] a \w+ among the arguments"):
            mx.export_function(path, lambda x: x, argument)
    with pytest.raises(TypeError, match="expected a function"):
        mx.export_function(path, 3, a)
    with pytest.raises(TypeError):
        mx.export_function(3, mx.exp, a)
    with pytest.raises(ValueError, match="no value there"):
        mx.export_function(path, lambda x: x * x.tolist()[0], a)
    with pytest.raises(ValueError, match="metadata"):
        mx.export_function(print, mx.exp, a, metadata="text")
    with pytest.raises(ZeroDivisionError):
        mx.export_function(path, lambda x: 1 / 0, a)
    assert not pathlib.Path(path).exists()
    with pytest.raises(FileNotFoundError):
        mx.export_function(str(tmp_path / "none" / "f"), mx.exp, a)
    with pytest.raises(FileNotFoundError):
        mx.import_function(path)
    with pytest.raises(OSError):
        mx.import_function(str(tmp_path))
    with pytest.raises(IndexError):  # nothing is left behind by errors
        mx.export_function(path, lambda x: mx.sum(x, axis=3), a)
    assert_same(exported(path, mx.exp, a)(a), mx.exp(a))


def test_a_failed_export_leaves_the_old_file(tmp_path):
    a, path = mx.ones((2, 2)), tmp_path / "f"
    mx.export_function(str(path), mx.exp, a)
    before = path.read_bytes()
    singular = mx.linalg.inv(mx.zeros((2, 2)))  # an error when the file is written
    with pytest.raises(ValueError, match="singular"):
        mx.export_function(str(path), lambda x: x @ singular, a)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_an_exported_function_holds_nothing_of_its_recording(tmp_path):
    def export(weights):
        mx.export_function(str(tmp_path / "f"), lambda a: a + weights, mx.array(1.0))

    before = mx.get_active_memory()
    export(mx.ones((1 << 16,)))
    assert mx.get_active_memory() == before
    imported = mx.import_function(str(tmp_path / "f"))
    mx.eval(imported(mx.array(1.0)))
    del imported
    assert mx.get_active_memory() == before


def test_callbacks_are_told_what_was_recorded():
    told = []
    weights = mx.array([1.0, 2.0])
    mx.export_function(
        told.append, lambda a, *, z: mx.sum(mx.exp(a) + weights, axis=0) * z, weights, z=weights
    )
    assert [t["type"] for t in told[:4]] == ["inputs", "keyword_inputs", "outputs", "constants"]
    assert told[0]["inputs"] == [("A", (2,), mx.float32), ("B", (2,), mx.float32)]
    assert told[1]["keywords"] == [("z", "B")]
    assert told[2]["outputs"] == [("C", (2,), mx.float32)]
    ((name, value),) = told[3]["constants"]
    assert name == "D" and value.tolist() == [1, 2]
    operations = told[4:]
    assert [t["name"] for t in operations] == ["exp", "add", "sum", "multiply"]
    assert operations[1]["inputs"] == [("E", (2,), mx.float32), ("D", (2,), mx.float32)]
    assert operations[2]["arguments"] == [(0,)] and operations[2]["parameters"] == {"axes": (0,)}
    assert operations[3]["outputs"] == told[2]["outputs"]


def test_large_graphs(tmp_path):
    def chain(a):
        for _ in range(20_000):
            a = mx.sin(a)
        return a

    a = mx.array([0.5, 1.0])
    assert_same(exported(tmp_path / "f", chain, a)(a), chain(a))


def some_files(tmp_path):
    """Files that together have every kind of part, and arguments for their functions."""
    a = mx.array([[0.5, 1.0, 2.0], [3.0, 4.0, 5.0]])
    weights = mx.array([[True, False, True]])

    def everything(x, *, scale):
        y = mx.softmax(x[:, ::-1] * scale, axis=0) + mx.arange(0.0, 3.0)
        y = mx.where(weights, y, mx.cumsum(y, axis=1)).T.reshape(2, 3)
        y = mx.pad(mx.concatenate([y, mx.full((1, 3), 2.0)]), 1)
        parts = mx.split(mx.as_strided(y, (4, 2), (3, 1), 1), 2)
        return parts[0] @ parts[1].T, mx.sum(mx.squeeze(mx.expand_dims(y, 0), 0), axis=(0, 1))

    options = [{}, {"shapeless": True, "metadata": "text"}]
    for i, option in enumerate(options):
        with mx.exporter(str(tmp_path / f"f{i}"), everything, **option) as export:
            export(a, scale=mx.array(2.0))
            export(a.astype(mx.float16), scale=mx.array(2.0, dtype=mx.float16))
        yield tmp_path / f"f{i}", lambda f: f(a, scale=mx.array(2.0))


def refused(path, data, call):
    """Whether a damaged file, or what it holds, is refused; anything but clear errors fails."""
    path.write_bytes(data)
    try:
        imported = mx.import_function(str(path))
        call(imported)
    except ValueError:
        return True
    return False


def test_cut_files_are_refused(tmp_path):
    path, call = next(some_files(tmp_path))
    data = path.read_bytes()
    for size in range(len(data)):
        assert refused(tmp_path / "damaged", data[:size], call)
    assert refused(tmp_path / "damaged", data + b"\0", call)


def test_damaged_files_raise_nothing_but_value_errors(tmp_path):
    rng = np.random.default_rng(5)
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    count = 0
    for path, call in some_files(tmp_path):
        data = path.read_bytes()
        for _ in range(2000):
            damaged = bytearray(data)
            for _ in range(rng.integers(1, 4)):
                at = int(rng.integers(len(damaged)))
                kind = rng.integers(4)
                if kind == 0:
                    damaged[at] = rng.integers(256)
                elif kind == 1:
                    damaged[at] ^= 1 << int(rng.integers(8))
                elif kind == 2:
                    damaged[at : at + 4] = rng.choice(
                        [b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0\0\0\0"]
                    )
                else:
                    damaged[at : at + int(rng.integers(1, 9))] = b""
            count += refused(tmp_path / "damaged", bytes(damaged), call)
    assert count > 2000  # of 4000
    # Nothing was allocated that the file was too short for.
    assert mx.get_peak_memory() - before < 1 << 20


def test_every_primitive_has_a_row():
    """What ops/ can record, a file can hold: primitives are records, and each has a row beside it.

    tests/cpp/record/test_fields.cpp calls all rows.
    """
    ops = pathlib.Path(__file__).parents[2] / "cpp" / "narrows" / "ops"
    named_by_tables = {"Elementwise", "Reduce", "ArgReduce", "Scan", "Scatter", "ScatterAxis"}
    named_by_tables |= {"Sort", "Fourier", "Convolution", "Collective"}
    named_by_tables |= {"NormalizedRows"}  # a product, as which files hold it
    found = 0
    for file in ops.glob("*.cpp"):
        text = file.read_text()
        for cls, base, body in re.findall(
            r"class (\w+) final : public ([\w<>, ]+) \{(.*?)\n\};", text, re.DOTALL
        ):
            is_record = base.startswith(("Record<", "MatrixOperation<", "Elementwise"))
            assert is_record, f"{file.name}: {cls} is no record"
            name = re.search(r'name\(\) const override \{\s*return "(\w+)";', body)
            if not name:
                assert cls in named_by_tables, f"{file.name}: {cls} has no row that this test knows"
                continue
            row = rf'(OperationRow|RecordRow<[\w, ]+>) \w+\(\s*"{name[1]}"'
            assert re.search(row, text), f"{file.name}: {cls}"
            found += 1
    assert found > 20


def everything(a, b):
    """Operations with parameters of every type that files have."""
    yield mx.arange(0.5, 2.5, 0.5) + mx.full((3, 4), 0.25, mx.float16)
    yield mx.cumsum(a, axis=1, reverse=True) * mx.cumprod(b.flatten(), inclusive=False)[3]
    yield mx.softmax(a, axis=(0, 1)) + mx.logsumexp(b, axis=1, keepdims=True)
    yield mx.sum(mx.where(a > b, a, b), axis=0), mx.argmax(a, axis=1, keepdims=True), mx.any(b)
    yield mx.stack(mx.split(mx.pad(a, ((1, 0), (2, 2)), constant_values=3.0), [3, 5], 1)[:1], 1)
    yield mx.concatenate([a.T, b.T[::-1]], axis=1).reshape(2, -1), mx.contiguous(a.T)
    yield mx.diagonal(mx.expand_dims(a, (0, 2)), 1, 3, 1), mx.squeeze(b[:1], 0), mx.view(a, mx.int8)
    yield mx.addmm(a[:, :3], a, b.T, alpha=0.5, beta=-2.0), mx.broadcast_to(b, (2, 3, 4)) @ a.T
    yield mx.grad(lambda x: mx.sum(mx.as_strided(x, (3, 2), (2, 1), 1) ** 2))(a)
    yield mx.random.uniform(shape=(4,), key=mx.random.key(5)), mx.stop_gradient(a).astype(mx.int32)
    yield updated_row(a)


def updated_row(a):
    a = a * a
    a[1, 1:3] = 7
    return a


def test_files_are_written_and_read_as_they_always_were(tmp_path):
    path = pathlib.Path(__file__).parent / "data" / "exported_everything"
    a = mx.arange(12, dtype=mx.float32).reshape(3, 4) / 8
    b = a[::-1] - 0.5

    def function(a, b):
        return [x for part in everything(a, b) for x in as_list(part)]

    mx.export_function(tmp_path / "f", function, a, b)
    assert (tmp_path / "f").read_bytes() == path.read_bytes()
    assert_same(mx.import_function(path)(a, b), function(a, b))
