"""Runs a program as Python would, with ``import mlx`` giving narrows.

python -m narrows.mlx script.py [ARGUMENT ...]
python -m narrows.mlx -m module [ARGUMENT ...]
python -m narrows.mlx -c command [ARGUMENT ...]
"""

import builtins
import importlib.util
import io
import os
import sys
import types

from narrows.mlx._finder import install


class _CannotRun(Exception):
    """There is no such program; the text says why, in Python's words."""

    def __init__(self, why: str, status: int = 1) -> None:
        super().__init__(why)
        self.status = status


def _main_module(**attributes: object) -> types.ModuleType:
    """A new module `__main__`, in place of this file's: the program's classes can be pickled."""
    module = types.ModuleType("__main__")
    vars(module).update({"__builtins__": builtins, **attributes})
    sys.modules["__main__"] = module
    return module


def _of_script(path: str) -> tuple[types.CodeType, types.ModuleType]:
    path = os.path.abspath(path)
    if os.path.isdir(path):
        path = os.path.join(path, "__main__.py")
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        raise _CannotRun(
            f"can't open file {path!r}: [Errno {error.errno}] {error.strerror}", status=2
        ) from None
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    return compile(source, path, "exec"), _main_module(__file__=path, __cached__=None)


def _of_module(name: str) -> tuple[types.CodeType, types.ModuleType]:
    sys.path[0] = os.getcwd()
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name += ".__main__"
            spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        raise _CannotRun(
            f"Error while finding module specification for {name!r} ({error})"
        ) from None
    if spec is None:
        raise _CannotRun(f"No module named {name}")
    code = spec.loader.get_code(name) if hasattr(spec.loader, "get_code") else None
    if code is None:
        raise _CannotRun(f"No code object available for {name}")
    sys.argv[0] = spec.origin
    return code, _main_module(
        __file__=spec.origin,
        __spec__=spec,
        __package__=spec.parent,
        __loader__=spec.loader,
        __cached__=spec.cached,
    )


def _of_command(source: str) -> tuple[types.CodeType, types.ModuleType]:
    sys.path[0] = ""
    sys.argv[0] = "-c"
    return compile(source, "<string>", "exec"), _main_module()


_PROGRAMS = {"-m": _of_module, "-c": _of_command}


def _hide_frames_of_this_file() -> None:
    """Tracebacks begin in the program, as they do without narrows.mlx."""
    show = sys.excepthook

    def shown(kind, error, traceback):
        program = vars(sys.modules["__main__"])
        if program is not globals():
            while traceback is not None and traceback.tb_frame.f_globals is not program:
                traceback = traceback.tb_next
        elif isinstance(error, SyntaxError):
            traceback = None  # the program does not compile
        error.__traceback__ = traceback
        show(kind, error, traceback)

    sys.excepthook = shown


def _load(arguments: list[str]) -> tuple[types.CodeType, types.ModuleType]:
    """The code of the program that the arguments name, and its module; sets sys.argv."""
    if arguments[0] in _PROGRAMS:
        if len(arguments) == 1:
            raise _CannotRun(f"Argument expected for the {arguments[0]} option", status=2)
        sys.argv = arguments[1:]
        return _PROGRAMS[arguments[0]](arguments[1])
    sys.argv = arguments
    return _of_script(arguments[0])


def main(arguments: list[str]) -> None:
    """Runs the program, which ends as if it had been run by itself."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__, file=sys.stdout if arguments else sys.stderr)
        sys.exit(0 if arguments else 2)
    # sys.path[0] is this program's; install() puts its own in front, and _load() the program's.
    sys.path.pop(0)
    install()
    sys.path.insert(0, "")
    _hide_frames_of_this_file()
    try:
        code, module = _load(arguments)
    except _CannotRun as error:
        print(f"{sys.executable}: {error}", file=sys.stderr)
        sys.exit(error.status)
    exec(code, vars(module))


main(sys.argv[1:])
