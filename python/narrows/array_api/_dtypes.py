"""Which dtypes functions take and which promote, by the rules of the standard."""

from collections.abc import Iterable
from typing import Any

import narrows.core as mx

__all__ = ["astype", "can_cast", "finfo", "iinfo", "isdtype", "result_type"]

BOOLEAN = frozenset({mx.bool_})
SIGNED = frozenset({mx.int8, mx.int16, mx.int32, mx.int64})
UNSIGNED = frozenset({mx.uint8, mx.uint16, mx.uint32, mx.uint64})
INTEGER = SIGNED | UNSIGNED
REAL_FLOATING = frozenset({mx.float16, mx.bfloat16, mx.float32, mx.float64})
COMPLEX = frozenset({mx.complex64})
FLOATING = REAL_FLOATING | COMPLEX
REAL_NUMERIC = INTEGER | REAL_FLOATING
NUMERIC = INTEGER | FLOATING
INTEGER_OR_BOOLEAN = INTEGER | BOOLEAN
EVERY = NUMERIC | BOOLEAN

DEFAULT_REAL = mx.float32
DEFAULT_COMPLEX = mx.complex64
DEFAULT_INTEGER = mx.int32
DEFAULT_INDEX = mx.int64

_NAMES = {
    BOOLEAN: "bool",
    INTEGER: "integers",
    REAL_FLOATING: "real floating-point numbers",
    COMPLEX: "complex numbers",
    FLOATING: "floating-point numbers",
    REAL_NUMERIC: "real numbers",
    NUMERIC: "numbers",
    INTEGER_OR_BOOLEAN: "integers or bool",
}
_KINDS = (BOOLEAN, INTEGER, REAL_FLOATING, COMPLEX)
_NUMBERS = (bool, int, float, complex)
# What a Python number may stand beside.
_BESIDE = {bool: BOOLEAN, int: NUMERIC, float: FLOATING, complex: FLOATING - {mx.float64}}


def name_of(dtype: mx.Dtype) -> str:
    return str(dtype).rpartition(".")[2]


def require(name: str, x: Any, allowed: frozenset = EVERY) -> mx.array:
    """The array itself, if it has one of these dtypes."""
    if not isinstance(x, mx.array):
        raise TypeError(f"[{name}] object of type {type(x).__name__}, expected an array")
    if x.dtype not in allowed:
        raise TypeError(f"[{name}] dtype {name_of(x.dtype)}, expected {_NAMES[allowed]}")
    return x


def require_dtype(name: str, dtype: Any) -> mx.Dtype:
    if not isinstance(dtype, mx.Dtype):
        raise TypeError(f"[{name}] object of type {type(dtype).__name__}, expected a dtype")
    return dtype


def _kind(dtype: mx.Dtype) -> int:
    return next(i for i, kind in enumerate(_KINDS) if dtype in kind)


def promoted(name: str, dtypes: Iterable[mx.Dtype]) -> mx.Dtype:
    """The dtype that all of these promote to; TypeError where the standard leaves it open."""
    dtypes = list(dtypes)
    kinds = {_kind(dtype) for dtype in dtypes}
    real_and_complex = kinds == {2, 3} and mx.float64 not in dtypes
    unsigned_64_beside_signed = mx.uint64 in dtypes and not SIGNED.isdisjoint(dtypes)
    if (len(kinds) > 1 and not real_and_complex) or unsigned_64_beside_signed:
        shown = ", ".join(map(name_of, dtypes))
        raise TypeError(f"[{name}] dtypes {shown}, expected dtypes that promote to one")
    result = dtypes[0]
    for dtype in dtypes[1:]:
        result = mx.result_type(result, dtype)
    return result


def beside_number(name: str, dtype: mx.Dtype, number: Any) -> mx.Dtype:
    """The dtype of an operation of an array and a Python number."""
    allowed = next((_BESIDE[t] for t in _NUMBERS if isinstance(number, t)), None)
    if allowed is None:
        kind = type(number).__name__
        raise TypeError(f"[{name}] object of type {kind}, expected an array or a number")
    if dtype not in allowed:
        number_type = type(number).__name__
        raise TypeError(f"[{name}] {number_type} beside {name_of(dtype)}, expected one kind")
    return mx.complex64 if isinstance(number, complex) else dtype


def operands(name: str, x1: Any, x2: Any, allowed: frozenset) -> tuple[Any, Any]:
    """Two operands whose dtypes promote, one of which may be a Python number."""
    arrays = [x for x in (x1, x2) if isinstance(x, mx.array)]
    if not arrays:
        raise TypeError(f"[{name}] two objects that are no arrays, expected at least one")
    for x in arrays:
        require(name, x, allowed)
    if len(arrays) == 2:
        promoted(name, [x1.dtype, x2.dtype])
    else:
        result = beside_number(name, arrays[0].dtype, x2 if arrays[0] is x1 else x1)
        if result not in allowed:
            raise TypeError(f"[{name}] a complex number, expected {_NAMES[allowed]}")
    return x1, x2


def of_one_dtype(name: str, arrays: Iterable[Any], allowed: frozenset = EVERY) -> list[mx.array]:
    """The arrays converted to the dtype that they promote to."""
    arrays = [require(name, x, allowed) for x in arrays]
    if not arrays:
        return arrays
    dtype = promoted(name, [x.dtype for x in arrays])
    return [x.astype(dtype) for x in arrays]


def astype(x: mx.array, dtype: mx.Dtype, /, *, copy: bool = True, device: Any = None) -> mx.array:
    """Converted to another dtype. `copy` changes nothing that could be seen: arrays are values.

    Raises:
      TypeError: If a complex array would become a real one.
    """
    require("astype", x)
    require_dtype("astype", dtype)
    if x.dtype in COMPLEX and dtype not in COMPLEX | BOOLEAN:
        raise TypeError(f"[astype] complex numbers to {name_of(dtype)}, expected real or imag")
    return mx.astype(x, dtype, stream=device)


def can_cast(from_: mx.Dtype | mx.array, to: mx.Dtype, /) -> bool:
    """Whether promotion takes `from_` to `to`."""
    source = from_.dtype if isinstance(from_, mx.array) else require_dtype("can_cast", from_)
    try:
        return promoted("can_cast", [source, require_dtype("can_cast", to)]) == to
    except TypeError:
        if not isinstance(to, mx.Dtype):
            raise
        return False


def finfo(type: mx.Dtype | mx.array, /) -> mx.finfo:
    """The limits of a floating-point dtype; of complex64 those of its parts."""
    dtype = type.dtype if isinstance(type, mx.array) else require_dtype("finfo", type)
    if dtype not in FLOATING:
        raise TypeError(f"[finfo] dtype {name_of(dtype)}, expected floating-point numbers")
    return mx.finfo(mx.float32 if dtype in COMPLEX else dtype)


def iinfo(type: mx.Dtype | mx.array, /) -> mx.iinfo:
    """The limits of an integer dtype."""
    dtype = type.dtype if isinstance(type, mx.array) else require_dtype("iinfo", type)
    if dtype not in INTEGER:
        raise TypeError(f"[iinfo] dtype {name_of(dtype)}, expected integers")
    return mx.iinfo(dtype)


def isdtype(dtype: mx.Dtype, kind: mx.Dtype | str | tuple[mx.Dtype | str, ...]) -> bool:
    """Whether a dtype is of a kind."""
    return mx.isdtype(dtype, kind)


def result_type(*arrays_and_dtypes: Any) -> mx.Dtype:
    """The dtype that arrays, dtypes and Python numbers promote to.

    Raises:
      TypeError: If they do not promote, or there is no array and no dtype.
    """
    dtypes, numbers = [], []
    for x in arrays_and_dtypes:
        if isinstance(x, (mx.array, mx.Dtype)):
            dtypes.append(x if isinstance(x, mx.Dtype) else x.dtype)
        else:
            numbers.append(x)
    if not dtypes:
        raise TypeError("[result_type] no array and no dtype, expected at least one")
    result = promoted("result_type", dtypes)
    for number in numbers:
        result = beside_number("result_type", result, number)
    return result
