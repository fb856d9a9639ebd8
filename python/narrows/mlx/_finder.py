"""What ``import mlx`` finds: the packages of narrows under MLX's names."""

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterable, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from pathlib import Path

MLX_VERSION = "0.32.4"
"""The version of MLX whose names, arguments and defaults narrows has."""

# What of narrows MLX has too; the rest is not to be found below `mlx`.
_PACKAGES = {"core", "nn", "optimizers", "utils"}

# Holds a package `mlx` that calls install(): processes that a program spawns are given its
# sys.path, and nothing else that would tell them where `mlx` is.
_PATH = str(Path(__file__).parent / "path")


class _Distribution(Distribution):
    """Answers importlib.metadata, which programs ask for MLX's version."""

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        summary = "narrows, under the names of MLX"
        return f"Metadata-Version: 2.1\nName: mlx\nVersion: {MLX_VERSION}\nSummary: {summary}\n"

    def locate_file(self, path: str) -> Path:
        return Path(__file__).parents[1] / path


class _Finder(Loader, DistributionFinder):
    """Stands in front of Python's own finders, which would find an installed MLX."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> ModuleSpec | None:
        top, *parts = fullname.split(".")
        if top != "mlx":
            return None
        if not parts:
            return ModuleSpec("mlx", self, origin="narrows", is_package=True)
        found = parts[0] in _PACKAGES and importlib.util.find_spec(_own(fullname))
        return ModuleSpec(fullname, self, origin=found.origin) if found else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None  # an empty module; exec_module() puts another in its place

    def exec_module(self, module: types.ModuleType) -> None:
        name = module.__spec__.name
        if name == "mlx":
            module.__doc__ = "narrows, under the names of MLX."
            return
        own = _own(name)
        sys.modules[name] = importlib.import_module(own)
        # Modules within a compiled module have no spec that could be found.
        for loaded in [m for m in sys.modules if m.startswith(own + ".")]:
            if sys.modules[loaded] is not None:
                sys.modules[name + loaded.removeprefix(own)] = sys.modules[loaded]

    def find_distributions(
        self, context: DistributionFinder.Context | None = None
    ) -> Iterable[Distribution]:
        name = context.name if context else None
        if name is None or name.lower() == "mlx":
            yield _Distribution()


def _own(fullname: str) -> str:
    return "narrows" + fullname.removeprefix("mlx")


def install() -> None:
    """From now on ``import mlx`` gives narrows in this process and in those that it spawns.

    The packages ``mlx.core``, ``mlx.nn``, ``mlx.optimizers`` and ``mlx.utils``, with what is below
    them, are those of narrows: the same modules, under another name. An installed MLX stays as it
    is, and is not imported. A second call does nothing.

    Raises:
      RuntimeError: MLX itself has been imported.

    Example:
      >>> import narrows.mlx
      >>> narrows.mlx.install()
      >>> import mlx.core
      >>> mlx.core is mx
      True
    """
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    imported = sys.modules.get("mlx")
    if imported is not None:
        where = next(iter(getattr(imported, "__path__", [])), "somewhere")
        raise RuntimeError(
            f"[install] mlx is imported from {where}, expected a call before the first import"
        )
    sys.meta_path.insert(0, _Finder())
    sys.path.insert(0, _PATH)


def install_from_path() -> None:
    """install(), called by the package `mlx` that a spawned process has found in sys.path."""
    del sys.modules["mlx"]
    install()
    importlib.import_module("mlx")
