"""Programs that were written for MLX, with narrows in its place.

    python -m narrows.mlx script.py ...
    python -m narrows.mlx -m package ...

run a program whose ``import mlx`` gives narrows; `install()` does so in a program of your own.
"""

from narrows.mlx._finder import MLX_VERSION, install  # noqa: F401

__all__ = ["install"]
