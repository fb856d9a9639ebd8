"""Trees: nested dicts, lists and tuples, with anything at their leaves."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any

__all__ = [
    "tree_flatten",
    "tree_map",
    "tree_map_with_path",
    "tree_merge",
    "tree_reduce",
    "tree_unflatten",
]


def _type_name(value: Any) -> str:
    return type(value).__name__


def _like(sequence: list | tuple, items: list) -> Any:
    """A list or a tuple, of the class that `sequence` has."""
    make = getattr(sequence, "_make", type(sequence))  # a named tuple has _make()
    return make(items)


def _items_at(name: str, key: Any, trees: tuple) -> list:
    """What the further trees have where the first one has `key`."""
    try:
        return [tree[key] for tree in trees]
    except (KeyError, IndexError, TypeError) as error:
        kinds = ", ".join(map(_type_name, trees))
        raise type(error)(
            f"[{name}] the first tree has an item {key!r}, expected it in the others ({kinds})."
        ) from None


def tree_map(
    fn: Callable, tree: Any, *rest: Any, is_leaf: Callable[[Any], bool] | None = None
) -> Any:
    """A tree of the same form, with what a function makes of each leaf.

    Args:
      fn: Takes a leaf, and the subtrees of `rest` at its place.
      tree: Nested dicts, lists and tuples. Everything else is a leaf.
      *rest: Further trees, with at least the items of `tree`.
      is_leaf: Says of a subtree whether it is a leaf all the same.

    Returns:
      The tree of results. Lists and tuples keep their class; what is like a dict becomes a dict.

    Raises:
      KeyError: A dict of `rest` has not the key of `tree`.
      IndexError: A list or tuple of `rest` is shorter than that of `tree`.
      TypeError: `rest` has no container where `tree` has one.

    Example:
      >>> from narrows.utils import tree_map
      >>> tree_map(lambda x: x + 1, {"a": 1, "b": [2, (3,)]})
      {'a': 2, 'b': [3, (4,)]}
      >>> tree_map(lambda x, y: x * y, [1, 2], [10, 20])
      [10, 40]
    """
    if is_leaf is not None and is_leaf(tree):
        return fn(tree, *rest)
    if isinstance(tree, dict):
        return {
            key: tree_map(fn, item, *_items_at("tree_map", key, rest), is_leaf=is_leaf)
            for key, item in tree.items()
        }
    if isinstance(tree, (list, tuple)):
        items = [
            tree_map(fn, item, *_items_at("tree_map", i, rest), is_leaf=is_leaf)
            for i, item in enumerate(tree)
        ]
        return _like(tree, items)
    return fn(tree, *rest)


def tree_map_with_path(
    fn: Callable,
    tree: Any,
    *rest: Any,
    is_leaf: Callable[[Any], bool] | None = None,
    path: Any | None = None,
) -> Any:
    """A tree of the same form, with what a function makes of each leaf and of its path.

    Args:
      fn: Takes the path of a leaf, as in `"layers.0.weight"`, the leaf, and the subtrees of `rest`
        at its place. The path is `path` where the tree itself is a leaf.
      tree: Nested dicts, lists and tuples. Everything else is a leaf.
      *rest: Further trees, with at least the items of `tree`.
      is_leaf: Says of a subtree whether it is a leaf all the same.
      path: What the paths begin with; a dot follows it.

    Returns:
      The tree of results. Lists and tuples keep their class; what is like a dict becomes a dict.

    Raises:
      KeyError: A dict of `rest` has not the key of `tree`.
      IndexError: A list or tuple of `rest` is shorter than that of `tree`.
      TypeError: `rest` has no container where `tree` has one.

    Example:
      >>> from narrows.utils import tree_map_with_path
      >>> tree_map_with_path(lambda path, x: f"{path} is {x}", {"a": 1, "b": [2, 3]})
      {'a': 'a is 1', 'b': ['b.0 is 2', 'b.1 is 3']}
    """
    if is_leaf is not None and is_leaf(tree):
        return fn(path, tree, *rest)

    def below(key, item):
        others = _items_at("tree_map_with_path", key, rest)
        inner = f"{path}.{key}" if path else f"{key}"
        return tree_map_with_path(fn, item, *others, is_leaf=is_leaf, path=inner)

    if isinstance(tree, dict):
        return {key: below(key, item) for key, item in tree.items()}
    if isinstance(tree, (list, tuple)):
        return _like(tree, [below(i, item) for i, item in enumerate(tree)])
    return fn(path, tree, *rest)


def _leaves(tree: Any, path: str, is_leaf: Callable[[Any], bool] | None) -> Iterable:
    """Pairs of a leaf's path, which begins with a dot, and the leaf."""
    if isinstance(tree, dict) and not (is_leaf and is_leaf(tree)):
        children = tree.items()
    elif isinstance(tree, (list, tuple)) and not (is_leaf and is_leaf(tree)):
        children = enumerate(tree)
    else:
        yield path, tree
        return
    for key, item in children:
        yield from _leaves(item, f"{path}.{key}", is_leaf)


def tree_flatten(
    tree: Any,
    prefix: str = "",
    is_leaf: Callable[[Any], bool] | None = None,
    destination: list[tuple[str, Any]] | dict[str, Any] | None = None,
) -> list[tuple[str, Any]] | dict[str, Any]:
    """The leaves of a tree with their paths, in which dots join keys and indices.

    Empty containers have no leaves: nothing is left of them.

    Args:
      tree: Nested dicts, lists and tuples. Everything else is a leaf, None as well.
      prefix: What the paths begin with, less its first character, which stands for a dot.
      is_leaf: Says of a subtree whether it is a leaf all the same.
      destination: The list or dict to which the leaves are added. None: a new list.

    Returns:
      `destination`: pairs of a path and a leaf, or a dict of leaves by their paths.

    Raises:
      ValueError: `destination` is neither a list nor a dict.

    Example:
      >>> from narrows.utils import tree_flatten
      >>> tree_flatten({"a": 1, "b": [2, {"c": 3}]})
      [('a', 1), ('b.0', 2), ('b.1.c', 3)]
      >>> tree_flatten([[5]], prefix=".layers", destination={})
      {'layers.0.0': 5}
    """
    if destination is None:
        destination = []
    pairs = ((path[1:], leaf) for path, leaf in _leaves(tree, prefix, is_leaf))
    if isinstance(destination, list):
        destination.extend(pairs)
    elif isinstance(destination, dict):
        destination.update(pairs)
    else:
        raise ValueError(
            f"[tree_flatten] destination is a {_type_name(destination)}, "
            "expected a list, a dict or None."
        )
    return destination


def _is_index(text: str) -> bool:
    return text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")


def tree_unflatten(tree: list[tuple[str, Any]] | dict[str, Any]) -> Any:
    """The tree whose leaves have the given paths: the inverse of `tree_flatten()`.

    Where all keys are indices a list is made, and `{}` fills gaps in it. Tuples become lists.

    Args:
      tree: Pairs of a path and a leaf, or a dict of leaves by their paths.

    Returns:
      Nested dicts and lists. The leaf itself if the only path is `""`, and `[]` if there is none.

    Example:
      >>> from narrows.utils import tree_unflatten
      >>> tree_unflatten([("a", 1), ("b.0", 2), ("b.1.c", 3)])
      {'a': 1, 'b': [2, {'c': 3}]}
    """
    pairs = list(tree.items() if isinstance(tree, dict) else tree)
    if not pairs:
        return []
    if len(pairs) == 1 and pairs[0][0] == "":
        return pairs[0][1]
    below: dict[str, list] = {}
    for path, leaf in pairs:
        key, _, rest = path.partition(".")
        below.setdefault(key, []).append((rest, leaf))
    children = {key: tree_unflatten(items) for key, items in below.items()}
    if all(map(_is_index, children)):
        return [children.get(str(i), {}) for i in range(max(map(int, children)) + 1)]
    return children


def tree_reduce(
    fn: Callable,
    tree: Any,
    initializer: Any = None,
    is_leaf: Callable[[Any], bool] | None = None,
) -> Any:
    """Combines all leaves, from the first to the last.

    Args:
      fn: Takes what is combined so far and the next leaf.
      tree: Nested dicts, lists and tuples. Everything else is a leaf.
      initializer: What is combined before the first leaf. None: the first leaf is the beginning.
      is_leaf: Says of a subtree whether it is a leaf all the same.

    Returns:
      What `fn` returned last; `initializer` if there are no leaves.

    Example:
      >>> from narrows.utils import tree_reduce
      >>> tree_reduce(lambda total, x: total + x, {"a": [1, 2], "b": 3})
      6
      >>> tree_reduce(lambda total, x: total + x.size, [mx.ones((2, 3)), mx.ones((4,))], 0)
      10
    """
    return functools.reduce(
        lambda total, pair: pair[1] if total is None else fn(total, pair[1]),
        _leaves(tree, "", is_leaf),
        initializer,
    )


def _is_empty(tree: Any) -> bool:
    return isinstance(tree, (dict, list, tuple)) and len(tree) == 0


def tree_merge(tree_a: Any, tree_b: Any, merge_fn: Callable | None = None) -> Any:
    """One tree with the leaves of two.

    None and empty containers count as nothing: the other tree's part stands there. Lists and tuples
    are merged item by item, as long as the longer of them is.

    Args:
      tree_a: Nested dicts, lists and tuples.
      tree_b: The same.
      merge_fn: Takes what `tree_a` and `tree_b` have at a place where they cannot be merged
        further, and returns what stands there. None: there must be no such place.

    Returns:
      The merged tree. Lists and tuples have the class that they have in `tree_a`.

    Raises:
      ValueError: Both trees have something at a place, and there is no `merge_fn`.

    Example:
      >>> from narrows.utils import tree_merge
      >>> tree_merge({"a": 1, "b": [{}, 2]}, {"b": [3], "c": 4})
      {'a': 1, 'b': [3, 2], 'c': 4}
      >>> tree_merge({"a": 1}, {"a": 2}, lambda a, b: a + b)
      {'a': 3}
    """
    if tree_b is None or (_is_empty(tree_b) and tree_a is not None):
        return tree_a
    if tree_a is None or _is_empty(tree_a):
        return tree_b
    if isinstance(tree_a, dict) and isinstance(tree_b, dict):
        keys = dict.fromkeys([*tree_a, *tree_b])
        pairs = [(tree_a.get(key), tree_b.get(key)) for key in keys]
        return {key: tree_merge(a, b, merge_fn) for key, (a, b) in zip(keys, pairs)}
    if isinstance(tree_a, (list, tuple)) and isinstance(tree_b, (list, tuple)):
        pairs = itertools.zip_longest(tree_a, tree_b)
        return _like(tree_a, [tree_merge(a, b, merge_fn) for a, b in pairs])
    if merge_fn is None:
        raise ValueError(
            f"[tree_merge] both trees have something at one place (a {_type_name(tree_a)} and a "
            f"{_type_name(tree_b)}), expected a merge_fn that merges them."
        )
    return merge_fn(tree_a, tree_b)
