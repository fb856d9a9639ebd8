"""The public functions of narrows.core and their parameters, for tests that go over all of them."""

import re
import types

import narrows.core as mx

MODULES = {"": mx, "random.": mx.random, "metal.": mx.metal, "cuda.": mx.cuda}


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
    """Pairs of a name and a default ("" if there is none), of one entry of __nb_signature__."""
    text, _, defaults = signature
    text = text.replace("narrows.core.", "")
    text = text[text.index("(") + 1 : text.rindex(")", 0, text.rindex(" ->"))]
    found = []
    for part in parts(text):
        name = re.match(r"\**\w*/?", part).group()
        default = part.partition(" = ")[2]
        if default.startswith("\\"):
            default = repr(defaults[int(default[1:])])
        found.append((name, default))
    return found
