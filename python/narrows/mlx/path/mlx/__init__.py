"""Found in sys.path by processes that a program under narrows.mlx has spawned."""

from narrows.mlx._finder import install_from_path

install_from_path()
