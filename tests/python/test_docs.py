"""Docstrings have the sections of Google's style, and the examples in them and in docs/ run."""

import doctest
import gc
import pathlib
import re

import narrows.core as mx
import public
import pytest
from public import parameters, signatures
from support import missing

ROOT = pathlib.Path(__file__).parents[2]
EVERYTHING = dict([*public.functions(), *public.methods(), *public.package_members()])


def inherits(name):
    """Whether a method or property is described where a base class defines it."""
    path, _, member = name.rpartition(".")
    bases = dict(public.package_members())[path].__mro__[1:-1]
    return any(member in vars(base) for base in bases)


PACKAGE_METHODS = dict(public.package_methods())
EVERYTHING |= {
    name: method
    for name, method in PACKAGE_METHODS.items()
    if not isinstance(method, property) and not inherits(name)
}
# Examples that run where narrows.core has these operations.
EXAMPLES_NEED = {
    "to_quantized|Quantized|QQLinear.(quantize|dequantize)|QQLinear$": "quantize",
    "QuantizedEmbedding$": "take",
    "nll_loss": "take_along_axis",
    "init.sparse": "argsort",
}
SAME_AS = re.compile(r"The same as the function `(\w+)\(\)`")


def docstring(name):
    return next(doc for _, doc, _ in signatures(EVERYTHING[name]) if doc)


def section(doc, title):
    found = re.search(rf"^{title}:\n((?:  .*\n?|\n(?=  ))*)", doc, re.M)
    return found.group(1) if found else ""


def run(text, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest(text, {"mx": mx}, name, name, 0)
    failures, tried = doctest.DocTestRunner().run(test)
    assert failures == 0
    return tried


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_docstrings_are_complete(name):
    doc = docstring(name)
    summary, _, rest = doc.partition("\n")
    assert summary.strip() and len(summary) <= 100 and (not rest or rest.startswith("\n"))
    assert summary.rstrip().endswith((".", ")"))
    same_as = SAME_AS.search(doc)
    if same_as:
        assert same_as.group(1) in EVERYTHING
        return
    assert section(doc, "Example")
    signature = signatures(EVERYTHING[name])[0]
    described = re.findall(r"^  (\**\w+): \S", section(doc, "Args"), re.M)
    assert described == [n for n, _ in parameters(signature) if n not in ("/", "*", "self")]
    returns = signature[0].rpartition("-> ")[2]
    assert bool(section(doc, "Returns")) == (returns != "None")


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_examples_run(name, tmp_path, monkeypatch, on_cpu):
    lacking = missing(*[op for names, op in EXAMPLES_NEED.items() if re.search(names, name)])
    if lacking:
        pytest.skip(f"without {', '.join(lacking)}")
    doc = docstring(name)
    assert run(doc, name, tmp_path, monkeypatch) or SAME_AS.search(doc)


@pytest.mark.parametrize("name", sorted(PACKAGE_METHODS))
def test_methods_of_packages_have_docstrings(name):
    assert PACKAGE_METHODS[name].__doc__.partition("\n")[0].strip()


def test_classes_have_docstrings():
    for name, value in public.classes():
        assert value.__doc__, name


PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_in_pages_runs(page, tmp_path, monkeypatch, on_cpu):
    """Blocks with prompts must print what they show; the others must run."""
    names = {"mx": mx, "__name__": "__main__"}
    gc.collect()  # pages count memory, which earlier tests may have left to the collector
    mx.synchronize()
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    for number, block in enumerate(blocks):
        title = f"{page.name}, block {number}"
        if block.startswith(">>> "):
            test = doctest.DocTestParser().get_doctest(block, names, title, str(page), 0)
            test.globs = names  # blocks of a page go on where the one before ended
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
            assert runner.run(test, clear_globs=False).failed == 0
        else:
            exec(compile(block, title, "exec"), names)
