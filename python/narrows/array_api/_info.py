"""What the namespace tells about itself."""

from typing import Any

import narrows.core as mx
from narrows.array_api import _dtypes as d

_DTYPES = {
    d.name_of(dtype): dtype
    for dtype in [
        *(mx.bool_, mx.int8, mx.int16, mx.int32, mx.int64),
        *(mx.uint8, mx.uint16, mx.uint32, mx.uint64),
        *(mx.float32, mx.float64, mx.complex64),
    ]
}


class _Info:
    """Devices, dtypes and capabilities."""

    def capabilities(self) -> dict[str, Any]:
        """What a program may do. There is no bound on dimensions."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": None}

    def default_device(self) -> mx.Device:
        """The device of arrays that are made without one."""
        return mx.default_device()

    def default_dtypes(self, *, device: Any = None) -> dict[str, mx.Dtype]:
        """The dtypes of numbers that are given without one, and of indices."""
        return {
            "real floating": d.DEFAULT_REAL,
            "complex floating": d.DEFAULT_COMPLEX,
            "integral": d.DEFAULT_INTEGER,
            "indexing": d.DEFAULT_INDEX,
        }

    def devices(self) -> list[mx.Device]:
        """All devices that can be used."""
        return [mx.Device(kind, i) for kind in mx.DeviceType for i in range(mx.device_count(kind))]

    def dtypes(
        self, *, device: Any = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, mx.Dtype]:
        """The standard's dtypes of some kinds, by name. GPUs have no float64."""
        listed = dict(_DTYPES)
        if device is not None and device != mx.cpu:
            del listed["float64"]
        if kind is None:
            return listed
        return {name: dtype for name, dtype in listed.items() if mx.isdtype(dtype, kind)}


def __array_namespace_info__() -> _Info:
    """What the namespace tells about itself."""
    return _Info()
