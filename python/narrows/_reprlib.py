"""Lets `reprlib`, and so pytest, show arrays: many versions of Python take any class named `array`
for that of the module `array`."""

import reprlib
from typing import Any

import narrows.core as mx


def install() -> None:
    """Makes `reprlib` ask arrays of narrows for their own representation."""
    of_module_array = reprlib.Repr.repr_array

    def repr_array(self: reprlib.Repr, x: Any, level: int) -> str:
        if isinstance(x, mx.array):
            return self.repr_instance(x, level)
        return of_module_array(self, x, level)

    reprlib.Repr.repr_array = repr_array
