"""narrows.nn has the names, parameters and defaults of MLX's; data/nn_names.txt lists those."""

import inspect
import pathlib

import narrows.core as mx
import narrows.nn as nn
import pytest

FILE = pathlib.Path(__file__).parents[1] / "data/nn_names.txt"
LISTED = [line for line in FILE.read_text().splitlines() if not line.startswith("#")]

# What wants several devices or machines.
DISTRIBUTED = ("Sharded", "fully_shard", "average_gradients")
NAMES = [line for line in LISTED if not any(word in line for word in DISTRIBUTED)]


def found(name):
    value = nn
    for part in name.split(".")[1:]:
        value = getattr(value, part)
    return value


def shown_default(value):
    if isinstance(value, mx.Dtype):
        return repr(value).rpartition(".")[2]
    return "..." if callable(value) else repr(value)


def shown(function):
    """The parameters of a function, written as in the list."""
    parts = []
    kinds = inspect.Parameter
    named_only = False
    for p in inspect.signature(function).parameters.values():
        if p.kind == kinds.KEYWORD_ONLY and not named_only:
            parts.append("*")
        named_only |= p.kind in (kinds.KEYWORD_ONLY, kinds.VAR_POSITIONAL)
        stars = {kinds.VAR_POSITIONAL: "*", kinds.VAR_KEYWORD: "**"}.get(p.kind, "")
        default = "" if p.default is p.empty else f"={shown_default(p.default)}"
        parts.append(f"{stars}{p.name}{default}")
    return f"({', '.join(parts)})"


@pytest.mark.parametrize("line", NAMES)
def test_name_and_parameters(line):
    name, bracket, parameters = line.partition("(")
    value = found(name)
    if bracket:
        assert shown(value) == bracket + parameters


def test_the_list_is_not_empty():
    assert len(NAMES) > 200


def test_nothing_is_public_that_is_no_name_of_mlx():
    listed = {line.partition("(")[0].split(".")[1] for line in LISTED}
    assert set(nn.__all__) - listed == set()
    assert all(hasattr(nn, name) for name in nn.__all__)
