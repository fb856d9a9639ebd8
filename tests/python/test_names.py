"""Every public name of MLX is there; data/mlx_names.txt lists them."""

import importlib
import pathlib

import pytest

LINES = (pathlib.Path(__file__).parent / "data/mlx_names.txt").read_text().splitlines()
NAMES = [line for line in LINES if not line.startswith("#")]


def find(name):
    """The object of this name in the package: a module's, or a class's."""
    owner, parts = importlib.import_module("narrows"), name.split(".")
    for i, part in enumerate(parts):
        if not hasattr(owner, part):
            owner = importlib.import_module(".".join(["narrows", *parts[: i + 1]]))
        else:
            owner = getattr(owner, part)
    return owner


def missing():
    for name in NAMES:
        try:
            find(name)
        except ImportError:
            yield name


def test_nothing_is_missing():
    assert len(NAMES) > 750
    assert list(missing()) == []


def test_a_missing_name_would_be_found():
    with pytest.raises(ImportError):
        find("core.linalg.no_such_function")
