"""Archives of .npy files: what `load()`, `savez()` and `savez_compressed()` do with .npz."""

import errno
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# The most bytes that a deflated byte can stand for.
_MOST_EXPANSION = 1032
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


@contextmanager
def _as_value_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (*_DAMAGED, struct.error, OverflowError) as error:
        raise ValueError(f"[load] {name} is a damaged archive: {error}") from error
    except OSError as error:  # of a position that no file has
        if error.errno != errno.EINVAL:
            raise
        raise ValueError(f"[load] {name} is a damaged archive: {error}") from error


def _check(member: zipfile.ZipInfo, name: str) -> None:
    if member.flag_bits & 1:
        raise ValueError(f"[load] {name}: {member.filename} is encrypted")
    sizes = f"{member.compress_size} bytes stand for {member.file_size}"
    if member.compress_type == zipfile.ZIP_STORED:
        good = member.file_size == member.compress_size
    elif member.compress_type == zipfile.ZIP_DEFLATED:
        good = member.file_size <= (member.compress_size + 1) * _MOST_EXPANSION
    else:
        raise ValueError(f"[load] {name}: {member.filename} is neither stored nor deflated")
    if not good:
        raise ValueError(f"[load] {name}: {member.filename} is damaged: {sizes}")


def _place(file: Any, member: zipfile.ZipInfo) -> tuple[int, int]:
    """Where the bytes of a stored member begin, and how many they are."""
    file.seek(member.header_offset)
    mark, name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if mark != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"no header of {member.filename}")
    begin = member.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    return begin, member.file_size


def load(
    file: Any, name: str, from_file: Callable[..., list], from_object: Callable[..., Any]
) -> dict[str, Any]:
    """Reads an archive.

    Args:
      file: A file object; one of a path has a fileno().
      name: Its name, for messages.
      from_file: Called with places of stored members, returns their arrays; None for objects
        whose arrays must be read at once.
      from_object: Called with an object to read from and its bytes, returns the array.

    Returns:
      dict: Arrays by name, in the archive's order.
    """
    arrays, stored = {}, {}
    with _as_value_errors(name), zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            _check(member, name)
            key = member.filename.removesuffix(".npy")
            if key in arrays:
                raise ValueError(f"[load] {name} has two arrays {key}")
            arrays[key] = None
            if from_file and member.compress_type == zipfile.ZIP_STORED:
                stored[key] = _place(file, member)
            else:
                with archive.open(member) as opened:
                    arrays[key] = from_object(opened, member.file_size)
        if stored:
            arrays.update(zip(stored, from_file(list(stored.values()))))
    return arrays


def save(file: Any, arrays: dict[str, Any], compressed: bool, write: Callable[..., None]) -> None:
    """Writes an archive to a file object; write(file, array) writes each member."""
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for name, value in arrays.items():
            member = zipfile.ZipInfo(name + ".npy")  # its date is always the same
            member.compress_type = method
            member.external_attr = 0o644 << 16
            with archive.open(member, "w", force_zip64=True) as opened:
                write(opened, value)
