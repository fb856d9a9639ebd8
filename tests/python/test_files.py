"""Arrays in files: what is written is read, by NumPy, too; and damaged files are errors."""

import io
import pathlib
import struct
import zipfile

import file_cases
import narrows.core as mx
import numpy as np
import pytest
from file_cases import FORMATS, entry, gguf, gguf_value, npy, npy_header, safetensors
from support import DTYPES, NUMPY, from_numpy, name_of, to_numpy

MLX = pathlib.Path(__file__).parent / "data/mlx"
NOT_IN_GGUF = [mx.bool_, mx.uint8, mx.uint16, mx.uint32, mx.uint64, mx.complex64]
SHAPES = [(), (5,), (0,), (2, 0, 3), (2, 3, 4), (1, 2, 1, 2, 1, 2, 1, 2, 3)]


def values(shape, dtype):
    count = int(np.prod(shape))
    return from_numpy((np.arange(count) % 7 - 2).reshape(shape).astype(NUMPY[dtype]), dtype)


def same(a, b):
    return (
        a.dtype == b.dtype and a.shape == b.shape and to_numpy(a).tobytes() == to_numpy(b).tobytes()
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("fmt", FORMATS)
def test_what_is_written_is_read(fmt, shape, tmp_path):
    for dtype in DTYPES:
        if fmt == "gguf" and dtype in NOT_IN_GGUF:
            continue
        a = values(shape, dtype)
        for file in (tmp_path / f"a.{fmt}", io.BytesIO()):
            file_cases.save(file, fmt, {"a": a})
            if isinstance(file, io.BytesIO):
                file.seek(0)
            assert same(file_cases.load(file, fmt)["a"], a), name_of(dtype)


LAYOUTS = {
    "transposed": lambda a: a.T,
    "strided": lambda a: a[:, ::2],
    "reversed": lambda a: a[::-1],
    "broadcast": lambda a: mx.broadcast_to(a[0], (3, 4)),
    "lazy": lambda a: a + 1,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fmt", FORMATS)
def test_layouts(fmt, layout, tmp_path):
    a = LAYOUTS[layout](values((3, 4), mx.float32))
    file_cases.save(tmp_path / "a", fmt, {"a": a})
    assert same(file_cases.load(tmp_path / f"a.{fmt}", fmt)["a"], a)


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_numpy_reads_it(dtype, tmp_path):
    a = values((2, 3), dtype)
    mx.save(tmp_path / "a", a)
    mx.savez(tmp_path / "a", a, x=a)
    mx.savez_compressed(tmp_path / "b", a, x=a)
    found = [np.load(tmp_path / "a.npy")]
    for archive in (np.load(tmp_path / "a.npz"), np.load(tmp_path / "b.npz")):
        assert sorted(archive) == ["arr_0", "x"]
        found += [archive["arr_0"], archive["x"]]
    for x in found:
        if dtype == mx.bfloat16:
            assert x.dtype == np.dtype("V2") and x.tobytes() == bytes(mx.view(a, mx.uint8))
        else:
            assert x.dtype == NUMPY[dtype] and (x == to_numpy(a)).all()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("code", ["?", "u1", "i8", "f2", "f4", "f8", "c8", "u4", "i2"])
def test_numpy_writes_it(code, order, version, tmp_path):
    for byte_order in "<>":
        dtype = np.dtype(byte_order + code) if code != "?" else np.dtype(code)
        for shape in [(), (3,), (2, 3), (2, 3, 4), (0, 2)]:
            a = np.asarray(
                (np.arange(np.prod(shape)) % 5).reshape(shape).astype(dtype), order=order
            )
            with open(tmp_path / "a.npy", "wb") as file:
                np.lib.format.write_array(file, a, version)
            loaded = mx.load(tmp_path / "a.npy")
            x = np.array(loaded)
            assert x.dtype == dtype.newbyteorder("=") and x.shape == shape and (x == a).all()
            np.savez(tmp_path / "a.npz", a=a)
            assert (np.array(mx.load(tmp_path / "a.npz")["a"]) == a).all()


def test_files_of_mlx():
    a = np.arange(6).reshape(2, 3)
    assert (to_numpy(mx.load(MLX / "bfloat16.npy")) == a * 0.5).all()
    assert (to_numpy(mx.load(MLX / "complex64.npy")) == a * (1 + 2j)).all()
    archive = mx.load(MLX / "deflated.npz")
    assert same(archive["arr_0"], mx.array(a, mx.int32)) and same(
        archive["b"], mx.array(a, mx.int8)
    )
    arrays, metadata = mx.load(MLX / "all.safetensors", return_metadata=True)
    assert metadata == {"key": 'text ü "quoted"\n'} and len(arrays) == len(DTYPES) - 1
    arrays_of_gguf, values_of_gguf = mx.load(MLX / "all.gguf", return_metadata=True)
    assert len(arrays_of_gguf) == 5
    for name, x in [*arrays.items(), *arrays_of_gguf.items()]:
        assert name_of(x.dtype) in (name, name + "_") and (to_numpy(x) == a.astype(x_type(x))).all()
    assert values_of_gguf["s"] == "text" and values_of_gguf["l"] == ["a", "bb"]
    numbers = {k: v for k, v in values_of_gguf.items() if isinstance(v, mx.array)}
    assert {k: v.tolist() for k, v in numbers.items()} == {
        **{"i": 3, "f": 2.5, "n": [1, 2, 3], "u8": [1], "b": True}
    }
    assert [name_of(numbers[k].dtype) for k in ("i", "f", "n", "u8")] == [
        *("int32", "float32", "int32", "uint8")
    ]


def x_type(x):
    return NUMPY[x.dtype]


def test_bytes_are_those_that_the_formats_say(tmp_path):
    a = mx.array([1.0, 2.0])
    mx.save(tmp_path / "a", a)
    content = (tmp_path / "a.npy").read_bytes()
    assert content[-8:] == struct.pack("<2f", 1, 2) and len(content) == 128 + 8
    mx.save_safetensors(tmp_path / "a", {"x": a, "b": mx.array([True])}, {"k": "v"})
    content = (tmp_path / "a.safetensors").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    assert length % 8 == 0 and content[8 + length :] == b"\1" + struct.pack("<2f", 1, 2)
    assert content[8:].startswith(
        b'{"__metadata__":{"k":"v"},"b":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]},'
    )
    mx.save_gguf(tmp_path / "a", {"x": mx.ones((2, 3))}, {"s": "text"})
    assert (tmp_path / "a.gguf").read_bytes() == gguf(
        [("x", (3, 2), 0, struct.pack("<6f", *[1] * 6) + bytes(8))],
        [gguf_value("s", 8, file_cases.gguf_text("text"))],
    )


GGUF_VALUES = {
    "text": "ünïcode",
    "empty text": "",
    "list": ["a", "", "bc"],
    "no texts": [],
    **{name_of(d): mx.array(1, dtype=d) for d in DTYPES if d not in (mx.float16, mx.bfloat16)},
    "numbers": mx.array([1.5, 2.5], dtype=mx.float64),
    "no numbers": mx.array([], dtype=mx.float32),
}
del GGUF_VALUES["complex64"]


def test_values_in_gguf(tmp_path):
    mx.save_gguf(tmp_path / "a", {}, GGUF_VALUES)
    arrays, loaded = mx.load(tmp_path / "a.gguf", return_metadata=True)
    assert arrays == {} and sorted(loaded) == sorted(GGUF_VALUES)
    for name, value in GGUF_VALUES.items():
        assert same(loaded[name], value) if isinstance(value, mx.array) else loaded[name] == value


@pytest.mark.parametrize("kind, number, bits", [("Q4_0", 2, 4), ("Q4_1", 3, 4), ("Q8_0", 8, 8)])
@pytest.mark.parametrize("shape", [(32,), (3, 64), (2, 5, 32), (40, 32 * 32)])
def test_quantized_gguf(kind, number, bits, shape, tmp_path):
    count = int(np.prod(shape)) // 32
    content, elements = file_cases.quantized_blocks(kind, count)
    for name in ("x.weight", "x"):
        (tmp_path / "a.gguf").write_bytes(gguf([(name, shape[::-1], number, content)]))
        for file in (tmp_path / "a.gguf", io.BytesIO((tmp_path / "a.gguf").read_bytes())):
            arrays = mx.load(file, format="gguf")
            assert sorted(arrays) == sorted([name, "x.scales", "x.biases"])
            words, scales, biases = (arrays[n] for n in (name, "x.scales", "x.biases"))
            assert words.dtype == mx.uint32 and words.shape == (*shape[:-1], shape[-1] * bits // 32)
            for x in (scales, biases):
                assert x.dtype == mx.float16 and x.shape == (*shape[:-1], shape[-1] // 32)
            places = np.arange(0, 32, bits, dtype=np.uint32)
            numbers = to_numpy(words).reshape(count, -1, 1) >> places & ((1 << bits) - 1)
            flat = [to_numpy(x).astype(np.float32).reshape(count, 1) for x in (scales, biases)]
            found = numbers.reshape(count, 32) * flat[0] + flat[1]
            # The biases of Q4_0 and Q8_0 are exact: powers of two times a scale.
            np.testing.assert_allclose(found, elements, rtol=1e-5, atol=1e-5)


def test_bools_are_zero_or_one(tmp_path):
    (tmp_path / "a.npy").write_bytes(npy(npy_header("'|b1'", shape="(3,)"), b"\0\1\7"))
    assert (mx.load(tmp_path / "a.npy").astype(mx.int32) + 0).tolist() == [0, 1, 1]


# What a file says -> what the error says.
WRONG = {
    "npy": [
        (b"", "has 0 bytes"),
        (b"\x93NUMPY", "cut off or damaged"),
        (b"PK\3\4 no npy file", "does not begin as a .npy file"),
        (npy(npy_header(), bytes(8), 4), "version 4"),
        (npy(npy_header(), bytes(7)), "cut off or damaged"),
        (npy(npy_header(), bytes(8), length=9999), "cut off"),
        (npy(npy_header(), bytes(8), 2, 2**32 - 1), "header of 4294967295 bytes"),
        (npy(npy_header("'<U3'")), "type <U3"),
        (npy(npy_header("'<c16'"), bytes(64)), "type <c16"),
        (npy(npy_header("'|O'"), bytes(64)), r"type \|O"),
        (npy(npy_header("[('a', '<f4')]"), bytes(64)), "type a structure"),
        (npy(npy_header(shape="(-1,)")), "damaged .npy header"),
        (npy(npy_header(shape="2")), "damaged .npy header"),
        (npy(npy_header(shape="(2, x)")), "damaged .npy header"),
        (npy(npy_header(shape="(99999999999999999999,)")), "damaged .npy header"),
        (npy(npy_header(shape=f"({2**62},)")), "load"),
        (npy(npy_header(shape=f"({2**40}, {2**40})")), "load"),
        (npy(npy_header(shape=f"({2**40},)")), "expected an array of 4398046511104 bytes"),
        (npy("{'descr': '<f4'}"), "damaged .npy header"),
        (npy("{}"), "damaged .npy header"),
        (npy("{" * 5000), "damaged .npy header"),
        (npy(npy_header() + "x"), "damaged .npy header"),
        (npy(npy_header(order="1")), "damaged .npy header"),
    ],
    "safetensors": [
        (b"", "has 0 bytes"),
        (b"\7\0\0\0", "has 4 bytes"),
        (safetensors({}, length=2**63), "header of 9223372036854775808 bytes"),
        (safetensors({}, length=3), "header of 3 bytes"),
        (safetensors(b"[]"), "expected '{'"),
        (safetensors(b"{"), "expected '\"'"),
        (safetensors(b"{}x"), "expected the end"),
        (safetensors(b'{"a":' * 100000), 'tells "a" of an array'),
        (safetensors(b'{"a":' + b"[" * 100000), "expected '{'"),
        (safetensors(b'{"a'), "end of a string"),
        (safetensors(b'{"\\x":{}}'), "escape sequence"),
        (safetensors(b'{"\\ud800":{}}'), "surrogate pair"),
        (safetensors(b'{"\\u00g0":{}}'), "hexadecimal"),
        (safetensors({"a": {}}), "damaged header"),
        (safetensors({"a": entry(more=1)}, bytes(8)), 'tells "more"'),
        (safetensors({"a": entry("F8_E5M2")}, bytes(8)), "type F8_E5M2"),
        (safetensors({"a": entry(offsets=(0, 9))}, bytes(9)), "8 bytes at 0 to 9"),
        (safetensors({"a": entry(offsets=(8, 0))}, bytes(8)), "at 8 to 0"),
        (safetensors({"a": entry(offsets=(8, 16))}, bytes(8)), "of 8 bytes"),
        (safetensors({"a": entry(offsets=(0,))}, bytes(8)), "two data_offsets"),
        (safetensors({"a": entry(offsets=(-8, 0))}, bytes(8)), "at least 0"),
        (safetensors({"a": entry(offsets=(0, 2**63))}, bytes(8)), "at least 0"),
        (safetensors({"a": entry(shape=(2**32, 2**32))}, bytes(8)), "load"),
        (safetensors({"a": entry(shape=(2**62,))}, bytes(8)), "load"),
        (safetensors({"a": entry(shape=(1.5,))}, bytes(8)), "expected ']'"),
        (safetensors({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)), "the same bytes"),
        (
            safetensors(
                b'{"a":%s,"a":%s}' % ((b'{"dtype":"U8","shape":[0],"data_offsets":[0,0]}',) * 2)
            ),
            "two arrays a",
        ),
        (safetensors({"__metadata__": {"a": 1}}), "expected '\"'"),
    ],
    "gguf": [
        (b"", "has 0 bytes"),
        (b"GGUX" + bytes(40), "does not begin as a .gguf file"),
        (gguf(version=1), "version 1"),
        (gguf(version=3 << 24), "version 50331648"),
        (gguf(counts=(2**63, 0)), "9223372036854775808 arrays"),
        (gguf(counts=(0, 2**64 - 1)), "18446744073709551615 values"),
        (gguf(counts=(0, 1)), "cut off"),
        (gguf([("a", (2,), 0, bytes(7))]), "cut off"),
        (gguf([("a", (2,), 0, bytes(8))], offsets=[2**64 - 1]), "cut off"),
        (gguf([("a", (2**63,), 0, bytes(8))]), "dimension of 9223372036854775808"),
        (gguf([("a", (2**62,), 0, bytes(8))]), "load"),
        (gguf([("a", (2**40, 2**40), 0, bytes(8))]), "load"),
        (gguf([("a", (256,), 14, bytes(210))]), "type 14"),
        (gguf([("a", (33,), 2, bytes(36))]), "multiple of 32"),
        (gguf([("a", (), 2, bytes(18))]), "multiple of 32"),
        (gguf([("a", (64,), 8, bytes(34))]), "cut off"),
        (gguf([("a", (2,), 0, bytes(8))] * 2), "two arrays a"),
        (gguf([(n, (8,), 0, bytes(32)) for n in "ab"], offsets=[0, 16]), "the same bytes"),
        (gguf(values=[gguf_value("k", 13, b"")]), "value k of type 13"),
        (gguf(values=[gguf_value("k", 9, struct.pack("<IQ", 9, 0))]), "value k of type 9"),
        (gguf(values=[gguf_value("k", 9, struct.pack("<IQ", 4, 2**61))]), "numbers"),
        (gguf(values=[gguf_value("k", 9, struct.pack("<IQ", 8, 2**61))]), "texts"),
        (gguf(values=[gguf_value("k", 8, struct.pack("<Q", 2**64 - 1))]), "bytes of a text"),
        (gguf(values=[gguf_value("k", 0, b"\1")] * 2), "two values k"),
        (gguf(values=[gguf_value("general.alignment", 4, struct.pack("<I", 0))]), "power of two"),
        (gguf(values=[gguf_value("general.alignment", 4, struct.pack("<I", 33))]), "power of two"),
        (
            gguf(values=[gguf_value("general.alignment", 8, file_cases.gguf_text("8"))]),
            "power of two",
        ),
    ],
    "npz": [(b"", "archive"), (b"PK\3\4" + bytes(50), "archive")],
}


@pytest.mark.parametrize(
    "fmt, content, message",
    [(fmt, *row) for fmt, rows in WRONG.items() for row in rows],
    ids=lambda x: repr(x)[:40] if isinstance(x, bytes) else str(x)[:40],
)
def test_damaged_files(fmt, content, message, tmp_path):
    path = tmp_path / "damaged"
    path.write_bytes(content)
    for file in (path, io.BytesIO(content)):
        with pytest.raises(ValueError, match=message):
            mx.load(file, format=fmt)


@pytest.mark.parametrize("name", [b"\xff", b"\xed\xa0\x80"])
def test_names_that_are_no_unicode(name):
    for fmt, content in [
        ("safetensors", safetensors(b'{"__metadata__":{"%s":""}}' % name)),
        ("gguf", gguf(values=[gguf_value(name, 0, b"\1")])),
    ]:
        with pytest.raises(ValueError):
            mx.load(io.BytesIO(content), format=fmt, return_metadata=True)


def archive_of(content, method=zipfile.ZIP_STORED, name="a.npy"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def test_damaged_archives(tmp_path):
    good = npy(npy_header(shape="(512,)"), bytes(2048))
    stored, deflated = archive_of(good), archive_of(good, zipfile.ZIP_DEFLATED)
    bomb = archive_of(good + bytes(10_000_000), zipfile.ZIP_DEFLATED)
    size = bomb.index(b"PK\1\2") + 24
    flagged = bytearray(stored)
    flagged[stored.index(b"PK\1\2") + 8] |= 1
    cases = [
        (stored[:-30], "archive"),
        (archive_of(good, zipfile.ZIP_LZMA), "neither stored nor deflated"),
        (archive_of(good[:-1]), "cut off"),
        (archive_of(b"no array"), "does not begin"),
        (bomb[:size] + struct.pack("<I", 2**32 - 2) + bomb[size + 4 :], "stand for 4294967294"),
        (deflated.replace(b"PK\3\4", b"PK\5\4", 1), "archive"),
        (stored.replace(b"PK\3\4", b"PK\5\4", 1), "archive"),
        (bytes(flagged), "encrypted"),
    ]
    for content, message in cases:
        (tmp_path / "a.npz").write_bytes(content)
        for file in (tmp_path / "a.npz", io.BytesIO(content)):
            with pytest.raises(ValueError, match=message):
                mx.load(file, format="npz")


CALLS = {
    "load what": (lambda d: mx.load(3), "a int, expected a path"),
    "no format": (lambda d: mx.load(d / "a"), "expected npy, npz, safetensors or gguf at the end"),
    "of an object": (lambda d: mx.load(io.BytesIO()), "object without a name"),
    "format": (lambda d: mx.load(d / "a.npy", format="zip"), "format zip, expected npy"),
    "metadata": (lambda d: mx.load(d / "a.npy", return_metadata=True), "metadata of a npy file"),
    "save where": (lambda d: mx.save(3, mx.array(1)), "a int, expected a path"),
    "savez what": (lambda d: mx.savez(d / "a", [1, 2]), "arr_0 is a list, expected an array"),
    "names": (lambda d: mx.savez(d / "a", mx.array(1), arr_0=mx.array(1)), "arr_0 is the name"),
    "safetensors what": (lambda d: mx.save_safetensors(d / "a", {"a": 1}), "a is a int"),
    "safetensors name": (lambda d: mx.save_safetensors(d / "a", {1: mx.array(1)}), "type int"),
    "reserved": (lambda d: mx.save_safetensors(d / "a", {"__metadata__": mx.array(1)}), "another"),
    "metadata text": (lambda d: mx.save_safetensors(d / "a", {}, {"a": 1}), "type int"),
    "gguf dtype": (lambda d: mx.save_gguf(d / "a", {"a": mx.array(True)}), "a has dtype bool"),
    "gguf value": (lambda d: mx.save_gguf(d / "a", {}, {"a": 1}), "a is a int"),
    "gguf list": (lambda d: mx.save_gguf(d / "a", {}, {"a": [1]}), "item of a list of type int"),
    "gguf matrix": (lambda d: mx.save_gguf(d / "a", {}, {"a": mx.ones((1, 1))}), r"shape \(1, 1\)"),
    "alignment": (
        lambda d: mx.save_gguf(d / "a", {}, {"general.alignment": mx.array(8)}),
        "general.alignment",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_wrong_arguments(name, tmp_path):
    call, message = CALLS[name]
    with pytest.raises(ValueError, match=message):
        call(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fmt", FORMATS)
def test_files_that_are_not_there(fmt, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"a.{fmt}"):
        mx.load(tmp_path / f"a.{fmt}")
    with pytest.raises(IsADirectoryError):
        mx.load(tmp_path, format=fmt)
    with pytest.raises(FileNotFoundError):
        file_cases.save(tmp_path / "none" / "a", fmt, {"a": mx.array(1)})
