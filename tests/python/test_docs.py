import types

import narrows.core as mx
import pytest


def public(module):
    for name in sorted(vars(module)):
        if not name.startswith("_"):
            yield name, getattr(module, name)


def functions():
    for module in [mx, mx.random, mx.metal, mx.cuda]:
        for name, value in public(module):
            if callable(value) and not isinstance(value, (type, types.ModuleType)):
                yield pytest.param(value, id=f"{module.__name__}.{name}")
    for name, value in public(mx.array):
        if callable(value):
            yield pytest.param(value, id=f"array.{name}")


@pytest.mark.parametrize("function", list(functions()))
def test_functions_have_docstrings(function):
    signature, _, text = function.__doc__.partition("\n")
    assert "(" in signature and len(text.strip()) > 10


def test_classes_have_docstrings():
    for name, value in public(mx):
        if isinstance(value, type):
            assert value.__doc__, name
