"""The type stubs: every name in them is one that a type checker finds."""

import ast
import builtins
import pathlib

import narrows
import pytest

PACKAGE = pathlib.Path(narrows.__file__).parent
STUBS = sorted(PACKAGE.rglob("*.pyi"))


def defined(tree):
    """Names that the statements of a module define or import."""
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                yield (alias.asname or alias.name).partition(".")[0]
        elif isinstance(node, ast.AnnAssign):
            yield node.target.id
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets)


def test_every_module_has_stubs():
    names = {str(stub.relative_to(PACKAGE)) for stub in STUBS}
    assert {"core/__init__.pyi", "core/random.pyi", "core/metal.pyi", "core/cuda.pyi"} <= names


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: str(stub.relative_to(PACKAGE)))
def test_names_in_stubs_are_defined(stub):
    tree = ast.parse(stub.read_text())
    known = {*defined(tree), *dir(builtins)}
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    local = {
        name.id
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for item in ast.walk(node)
        if isinstance(item, (ast.AnnAssign, ast.Assign))
        for name in ast.walk(item)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
    }
    assert used - known - local == set()
