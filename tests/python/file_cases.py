"""Formats of files, files made by hand, and damaged ones, for tests and tools/fuzz_files.py."""

import io
import json
import random
import struct

import narrows.core as mx
import numpy as np

FORMATS = ["npy", "npz", "safetensors", "gguf"]


def save(file, fmt, arrays, **metadata):
    """Writes named arrays; .npy has the first one."""
    if fmt == "npy":
        mx.save(file, next(iter(arrays.values())))
    elif fmt == "npz":
        mx.savez(file, **arrays)
    elif fmt == "safetensors":
        mx.save_safetensors(file, arrays, **metadata)
    else:
        mx.save_gguf(file, arrays, **metadata)


def load(file, fmt, names=("a",), **options):
    """Reads named arrays; the one of .npy has the first name."""
    arrays = mx.load(file, format=fmt, **options)
    return {names[0]: arrays} if fmt == "npy" else arrays


def safetensors(header, data=b"", length=None):
    """A file with this header: JSON's objects, or bytes."""
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


def gguf_text(text):
    text = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(text)) + text


def gguf_value(key, kind, value):
    return gguf_text(key) + struct.pack("<I", kind) + value


def gguf(tensors=(), values=(), version=3, alignment=32, offsets=None, counts=None):
    """A file of tensors (name, dimensions with the innermost first, type, bytes)."""
    count_tensors, count_values = counts or (len(tensors), len(values))
    out = b"GGUF" + struct.pack("<IQQ", version, count_tensors, count_values) + b"".join(values)
    data = b""
    for i, (name, dims, kind, content) in enumerate(tensors):
        data += bytes(-len(data) % alignment)
        offset = offsets[i] if offsets else len(data)
        out += gguf_text(name) + struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
        out += struct.pack("<IQ", kind, offset)
        data += content
    return out + bytes(-len(out) % alignment) + data


def npy(header, data=b"", version=1, length=None):
    header = header if isinstance(header, bytes) else header.encode()
    length = len(header) if length is None else length
    return (
        b"\x93NUMPY"
        + struct.pack("<BBH" if version == 1 else "<BBI", version, 0, length)
        + (header + data)
    )


def npy_header(descr="'<f4'", order="False", shape="(2,)"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def quantized_blocks(kind, count, seed=0):
    """Bytes of blocks of GGUF's Q4_0, Q4_1 or Q8_0, and the elements that they stand for."""
    rng = np.random.default_rng(seed)
    content, elements = b"", []
    for _ in range(count):
        scale, bias = rng.normal(size=2).astype(np.float16)
        numbers = rng.integers(0, 256, 32 if kind == "Q8_0" else 16, dtype=np.uint8)
        content += scale.tobytes() + (bias.tobytes() if kind == "Q4_1" else b"")
        content += numbers.tobytes()
        if kind == "Q8_0":
            values = numbers.view(np.int8).astype(np.float32)
        else:
            values = np.concatenate([numbers & 15, numbers >> 4]).astype(np.float32)
            values -= 8 if kind == "Q4_0" else 0
        bias = np.float32(bias) if kind == "Q4_1" else np.float32(0)
        elements.append(values * np.float32(scale) + bias)
    return content, np.stack(elements)


def samples(fmt):
    """Good files, as bytes."""
    a = mx.arange(6).reshape(2, 3).astype(mx.float32)
    arrays = {"a": a, "b": a.astype(mx.int8), "c": a[0].astype(mx.bfloat16), "d": mx.array(1.5)}
    files = []
    if fmt == "npy":
        for x in arrays.values():
            files.append(io.BytesIO())
            mx.save(files[-1], x)
        files.append(io.BytesIO())
        np.save(files[-1], np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)))
    elif fmt == "npz":
        for function in (mx.savez, mx.savez_compressed):
            files.append(io.BytesIO())
            function(files[-1], **arrays)
    elif fmt == "safetensors":
        files.append(io.BytesIO())
        mx.save_safetensors(files[-1], arrays, {"text": 'a "quoted" \n text', "k": "ü"})
    else:
        files.append(io.BytesIO())
        values = {"s": "text", "l": ["a", "bc"], "n": mx.array([1, 2]), "i": mx.array(3)}
        mx.save_gguf(files[-1], arrays, values)
        blocks = [
            (f"{kind}.weight", (32, 2), number, quantized_blocks(kind, 2)[0])
            for kind, number in (("Q4_0", 2), ("Q4_1", 3), ("Q8_0", 8))
        ]
        alignment = gguf_value("general.alignment", 4, struct.pack("<I", 64))
        files.append(io.BytesIO(gguf(blocks, [alignment], alignment=64)))
    return [file.getvalue() for file in files]


_ODD = [0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


def mutated(content, rng):
    """The file with one to four changes: bytes, numbers, digits; cut off, longer, or rearranged."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4])):
        kind = rng.randrange(7)
        at = rng.randrange(len(content)) if content else 0
        # Most of a header's bytes say something; of the data's none.
        at = rng.randrange(min(len(content), 64)) if content and rng.random() < 0.4 else at
        if kind == 0:
            del content[at:]
        elif kind == 1:
            content += rng.randbytes(rng.randrange(1, 40))
        elif kind == 2:
            size = rng.choice([1, 2, 4, 8])
            value = rng.choice(_ODD) % (1 << 8 * size)
            content[at : at + size] = value.to_bytes(size, "little")
        elif kind == 3:
            end = rng.randrange(at, min(len(content), at + 40) + 1)
            content[at:at] = content[at:end]
        elif kind == 4:
            digits = [i for i, c in enumerate(content) if 48 <= c <= 57]
            if digits:
                at = rng.choice(digits)
                content[at : at + 1] = str(rng.choice([*range(10), *_ODD, -1])).encode()
        elif kind == 5 and content:
            del content[at : at + rng.randrange(1, 9)]
        elif content:
            content[at] = rng.randrange(256)
    return bytes(content)


def try_damaged(fmt, rng, files, path):
    """Reads a damaged file, as an object or from the path. Whether it was good all the same."""
    content = mutated(rng.choice(files), rng)
    with_metadata = fmt in ("safetensors", "gguf") and rng.random() < 0.5
    file = io.BytesIO(content)
    if rng.random() < 0.05:
        path.write_bytes(content)
        file = path
    try:
        loaded = mx.load(file, format=fmt, return_metadata=with_metadata)
        arrays = loaded[0] if with_metadata else loaded
        mx.eval(arrays)
    except ValueError as error:
        assert str(error), "an error without a message"
        return False
    for a in arrays.values() if isinstance(arrays, dict) else [arrays]:
        # Deflated bytes may stand for many; all others lie in the file.
        assert fmt == "npz" or a.nbytes <= 2 * len(content), (a.shape, a.dtype, len(content))
    return True


def fuzz(fmt, seed, count, path):
    """Tries so many damaged files. How many were good; their memory stays small."""
    rng = random.Random(f"{fmt} {seed}")
    files = samples(fmt)
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    good = sum(try_damaged(fmt, rng, files, path) for _ in range(count))
    assert mx.get_peak_memory() - before < 4 << 20, "memory was asked for that no file fills"
    return good
