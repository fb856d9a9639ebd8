"""Lets `reprlib`, and so pytest, show arrays: before Python 3.12 it takes any class named `array`
for that of the module `array`."""

import reprlib
import sys
from typing import Any

import narrows.core as mx


def install() -> None:
    """Makes `reprlib` ask arrays of narrows for their own representation."""
    if sys.version_info >= (3, 12):
        return
    of_module_array = reprlib.Repr.repr_array

    def repr_array(self: reprlib.Repr, x: Any, level: int) -> str:
        if isinstance(x, mx.array):
            return self.repr_instance(x, level)
        return of_module_array(self, x, level)

    reprlib.Repr.repr_array = repr_array
