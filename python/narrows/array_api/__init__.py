"""The Python array API standard, version 2024.12, over the operations of narrows.core.

It is what ``x.__array_namespace__()`` returns. Functions have the standard's names and parameters
and take the dtypes that it defines them for: TypeError for others, and for dtypes that do not
promote.
"""

from math import e, inf, nan, pi

from narrows.array_api import (
    _creation,
    _dtypes,
    _elementwise,
    _manipulation,
    _products,
    _statistics,
    fft,
    linalg,
)
from narrows.array_api._creation import *  # noqa: F403
from narrows.array_api._dtypes import *  # noqa: F403
from narrows.array_api._elementwise import *  # noqa: F403
from narrows.array_api._info import __array_namespace_info__
from narrows.array_api._manipulation import *  # noqa: F403
from narrows.array_api._products import *  # noqa: F403
from narrows.array_api._statistics import *  # noqa: F403
from narrows.core import (
    bool_ as bool,
)
from narrows.core import (
    complex64,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)

__array_api_version__ = "2024.12"
newaxis = None

__all__ = [
    "__array_api_version__",
    "__array_namespace_info__",
    "bool",
    "complex64",
    "e",
    "fft",
    "float32",
    "float64",
    "inf",
    "int8",
    "int16",
    "int32",
    "int64",
    "linalg",
    "nan",
    "newaxis",
    "pi",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]
__all__ += _creation.__all__
__all__ += _dtypes.__all__
__all__ += _elementwise.__all__
__all__ += _manipulation.__all__
__all__ += _products.__all__
__all__ += _statistics.__all__
