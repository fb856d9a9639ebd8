"""Lazy arrays in little memory: ``import narrows.core as mx``."""

import os
import sys

# The libraries read these when they are loaded: how long OpenMP's idle threads spin before they
# sleep (the default, some 20 ms, starves busy machines), and that OpenBLAS needs no threads of
# its own. Put back afterwards, so that other libraries and child processes see none of it.
_SETTINGS = {"GOMP_SPINCOUNT": "10000", "OPENBLAS_NUM_THREADS": "1"}


def _load_core() -> str:
    missing = [name for name in _SETTINGS if name not in os.environ]
    os.environ.update((name, _SETTINGS[name]) for name in missing)
    try:
        from narrows.core import __version__
    finally:
        for name in missing:
            del os.environ[name]
    return __version__


def _complete_core() -> None:
    """Adds to narrows.core what is written in Python."""
    from narrows import _distributed, _reprlib, core

    _reprlib.install()
    core.distributed = sys.modules["narrows.core.distributed"] = _distributed


__version__ = _load_core()
_complete_core()
__all__ = ["__version__"]
