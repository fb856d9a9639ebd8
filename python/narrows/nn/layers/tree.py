"""Walks over the containers in a module: what Module reads and writes its parameters with."""

from collections.abc import Callable, Iterator
from typing import Any

import narrows.core as mx


class ModuleDict(dict):
    """The base of Module alone: what tells modules from the plain dicts in them."""


def select(
    module: Any, key: str, value: Any, filter_fn: Callable, map_fn: Callable, is_leaf_fn: Callable
) -> Any:
    """The part of `value` that `filter_fn` lets through, as plain dicts and lists.

    `value` is the member `key` of `module`. What is filtered out of a dict or a list inside of a
    module leaves an empty dict, so that places in lists stay as they are.
    """
    if is_leaf_fn(module, key, value):
        return map_fn(value)
    if isinstance(value, ModuleDict):
        return members(value, filter_fn, map_fn, is_leaf_fn)
    if not isinstance(value, (dict, list)):
        raise ValueError(f"[filter_and_map] {type_name(value)} for {key}, expected it to be a leaf")
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for name, entry in entries:
        path = f"{key}.{name}"
        taken = filter_fn(module, path, entry)
        found.append(
            select(module, path, entry, filter_fn, map_fn, is_leaf_fn) if taken else {},
        )
    return dict(zip(value, found)) if isinstance(value, dict) else found


def members(module: Any, filter_fn: Callable, map_fn: Callable, is_leaf_fn: Callable) -> dict:
    """`select()` of each member of a module that `filter_fn` lets through."""
    return {
        key: select(module, key, value, filter_fn, map_fn, is_leaf_fn)
        for key, value in module.items()
        if filter_fn(module, key, value)
    }


def type_name(value: Any) -> str:
    return type(value).__name__


def below(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _pairs(operation: str, target: Any, values: Any, path: str, strict: bool) -> Iterator[tuple]:
    """The entries that a container and the tree for it have in common: path, key, old, new."""
    if isinstance(target, dict) and isinstance(values, dict):
        for key, value in values.items():
            if key in target:
                yield below(path, key), key, target[key], value
            elif strict:
                raise ValueError(f"[{operation}] {below(path, key)} is not in the model")
    elif isinstance(target, list) and isinstance(values, list):
        for index, value in enumerate(values):
            if index < len(target):
                yield below(path, index), index, target[index], value
            elif strict:
                raise ValueError(
                    f"[{operation}] {below(path, index)} is not in the model: "
                    f"{path or 'the list'} has {len(target)} entries"
                )
    elif strict and not (isinstance(values, (dict, list)) and not values):
        raise ValueError(
            f"[{operation}] {type_name(values)} for {path or 'the model'}, "
            f"expected a tree like its {type_name(target)}"
        )


def array_assignments(target: Any, values: Any, strict: bool, path: str = "") -> Iterator[tuple]:
    """What `Module.update()` has to do: container, key, new value."""
    for name, key, old, new in _pairs("update", target, values, path, strict):
        if not isinstance(old, mx.array):
            yield from array_assignments(old, new, strict, name)
        elif isinstance(new, mx.array) or not strict:
            yield target, key, new
        else:
            raise ValueError(f"[update] {type_name(new)} for {name}, expected an array")


def module_assignments(target: Any, values: Any, strict: bool, path: str = "") -> Iterator[tuple]:
    """What `Module.update_modules()` has to do: container, key, new module."""
    for name, key, old, new in _pairs("update_modules", target, values, path, strict):
        if isinstance(old, ModuleDict) and isinstance(new, ModuleDict):
            yield target, key, new
        elif isinstance(new, ModuleDict):
            if strict:
                raise ValueError(f"[update_modules] a module for {name}, which is none")
        else:
            yield from module_assignments(old, new, strict, name)
