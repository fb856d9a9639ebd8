"""The public functions of narrows and their parameters, for tests that go over all of them."""

import inspect
import re
import types

import narrows.core as mx
import narrows.mlx
import narrows.nn
import narrows.optimizers
import narrows.utils

MODULES = {
    "": mx,
    "fast.": mx.fast,
    "fft.": mx.fft,
    "linalg.": mx.linalg,
    "random.": mx.random,
    "metal.": mx.metal,
    "cuda.": mx.cuda,
}
# Modules that are written in Python: __all__ lists what is public.
PACKAGES = {
    "distributed.": mx.distributed,
    "mlx.": narrows.mlx,
    "nn.": narrows.nn,
    "nn.init.": narrows.nn.init,
    "nn.layers.distributed.": narrows.nn.layers.distributed,
    "nn.losses.": narrows.nn.losses,
    "nn.utils.": narrows.nn.utils,
    "optimizers.": narrows.optimizers,
    "utils.": narrows.utils,
}


def _names(owner):
    return [name for name in sorted(vars(owner)) if not name.startswith("_")]


def functions():
    """Pairs of a name, as in `random.key`, and a function of a module."""
    for prefix, module in MODULES.items():
        for name in _names(module):
            value = getattr(module, name)
            if callable(value) and not isinstance(value, (type, types.ModuleType)):
                yield prefix + name, value


def classes():
    for name in _names(mx):
        if isinstance(getattr(mx, name), type):
            yield name, getattr(mx, name)


def methods():
    """Pairs of a name, as in `array.sum`, and a method of a class, or its constructor."""
    for class_name, owner in classes():
        for name in _names(owner):
            if hasattr(getattr(owner, name), "__nb_signature__"):
                yield f"{class_name}.{name}", getattr(owner, name)
    yield "array.__init__", mx.array.__init__


def package_members():
    """Pairs of a name, as in `optimizers.Adam`, and a function or class of a package."""
    for prefix, package in PACKAGES.items():
        for name in package.__all__:
            yield prefix + name, getattr(package, name)


def package_methods():
    """Pairs of a name, as in `optimizers.Adam.init`, and what a class of a package defines."""
    for name, value in package_members():
        if isinstance(value, type):
            for member in _names(value):
                defined = vars(value)[member]
                bound = isinstance(defined, (classmethod, staticmethod))
                yield f"{name}.{member}", getattr(value, member) if bound else defined


def package_calls():
    """Pairs of a name, as in `nn.Linear.__call__`, and how objects of a package are called."""
    for name, value in package_members():
        if isinstance(value, type):
            calls = [vars(base)["__call__"] for base in value.__mro__ if "__call__" in vars(base)]
            yield from ((f"{name}.__call__", call) for call in calls[:1])


def signatures(function):
    """The text, the docstring and the defaults of each signature, in the form of nanobind.

    A class written in Python has the signature of its constructor.
    """
    if hasattr(function, "__nb_signature__"):
        return function.__nb_signature__
    signature = inspect.signature(function)
    listed, defaults, keyword_only = [], [], False
    for parameter in signature.parameters.values():
        name = str(parameter.replace(default=parameter.empty, annotation=parameter.empty))
        if parameter.kind == parameter.KEYWORD_ONLY and not keyword_only:
            listed.append("*")
        keyword_only |= parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        if parameter.default is not parameter.empty:
            name += f" = \\{len(defaults)}"
            defaults.append(parameter.default)
        listed.append(name)
    returns = None if isinstance(function, type) else signature.return_annotation
    text = f"def {function.__name__}({', '.join(listed)}) -> {returns}"
    return [(text, inspect.getdoc(function), tuple(defaults))]


def parts(text):
    """The text split at commas, but not at those within brackets."""
    found, depth, part = [], 0, ""
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            found.append(part.strip())
            part = ""
        else:
            part += c
    return found + [part.strip()] if part.strip() else found


def parameters(signature):
    """Pairs of a name and a default ("" if there is none), of one of signatures()."""
    text, _, defaults = signature
    text = text.replace("narrows.core.", "")
    text = text[text.index("(") + 1 : text.rindex(")", 0, text.rindex(" ->"))]
    found = []
    for part in parts(text):
        name = re.match(r"\**\w*/?", part).group()
        default = part.partition(" = ")[2]
        if default.startswith("\\"):
            value = defaults[int(default[1:])]
            default = "..." if inspect.isfunction(value) else repr(value)
            default = default.replace("narrows.core.", "")
        found.append((name, default))
    return found
