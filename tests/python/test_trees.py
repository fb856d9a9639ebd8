"""narrows.utils: trees of dicts, lists and tuples."""

from collections import namedtuple

import narrows.core as mx
import pytest
from narrows.utils import (
    tree_flatten,
    tree_map,
    tree_map_with_path,
    tree_merge,
    tree_reduce,
    tree_unflatten,
)

Pair = namedtuple("Pair", "x y")


class ListOfOnesOwn(list):
    pass


class DictOfOnesOwn(dict):
    pass


TREE = {"a": {"b": 1, "c": [2, (3, None)]}, "d": None, "e": {}, "f": [], "g": ()}
FLAT = [("a.b", 1), ("a.c.0", 2), ("a.c.1.0", 3), ("a.c.1.1", None), ("d", None)]


def is_list(tree):
    return isinstance(tree, list)


def test_map_keeps_the_form():
    assert tree_map(lambda x: (x,), TREE) == {
        "a": {"b": (1,), "c": [(2,), ((3,), (None,))]},
        "d": (None,),
        "e": {},
        "f": [],
        "g": (),
    }
    for tree in (Pair(1, [2]), ListOfOnesOwn([1]), (1,), [1], {"a": 1}):
        assert type(tree_map(lambda x: x, tree)) is type(tree)
        assert type(tree_map_with_path(lambda _, x: x, tree)) is type(tree)
        assert tree_map(lambda x: x, tree) == tree
    assert type(tree_map(lambda x: x, DictOfOnesOwn(a=1))) is dict
    for leaf in (5, None, "text", mx.ones((2,))):
        assert tree_map(lambda x: [x], leaf)[0] is leaf


def test_map_of_several_trees():
    trees = [
        {"a": 1, "b": [2, 3]},
        {"a": 10, "b": (20, 30, 40), "c": 0},
        {"a": {"x": 1}, "b": "st"},
    ]
    expected = {"a": (1, 10, {"x": 1}), "b": [(2, 20, "s"), (3, 30, "t")]}
    assert tree_map(lambda *leaves: leaves, *trees) == expected
    named = tree_map_with_path(lambda path, *leaves: (path, *leaves), *trees)
    assert named == {"a": ("a", *expected["a"]), "b": [("b.0", 2, 20, "s"), ("b.1", 3, 30, "t")]}


@pytest.mark.parametrize(
    "tree, other, error, key",
    [
        ({"a": 1, "b": 1}, {"a": 1}, KeyError, "'b'"),
        ([1, 2], [1], IndexError, "1"),
        ([1], {"a": 1}, KeyError, "0"),
        ({"a": 1}, [1], TypeError, "'a'"),
        ({"a": [1]}, {"a": 1}, TypeError, "0"),
    ],
)
def test_trees_that_do_not_fit(tree, other, error, key):
    for name, function in (("tree_map", tree_map), ("tree_map_with_path", tree_map_with_path)):
        message = f"[{name}] the first tree has an item {key}, expected it in the others"
        with pytest.raises(error) as caught:
            function(lambda *_: None, tree, other)
        assert message in caught.value.args[0]


def test_errors_of_the_function_are_its_own():
    for error in (KeyError, IndexError, TypeError):

        def fail(*_, error=error):
            raise error("mine")

        with pytest.raises(error, match="^'?mine'?$"):
            tree_map(fail, {"a": [1]}, {"a": [1]})
        with pytest.raises(error, match="^'?mine'?$"):
            tree_map_with_path(fail, {"a": [1]}, {"a": [1]})


def test_leaves_may_be_chosen():
    assert tree_map(lambda x: 0, TREE, is_leaf=is_list)["a"] == {"b": 0, "c": 0}
    assert tree_map(lambda x, y: y, [1], ["all"], is_leaf=is_list) == ["all"]
    seen = []
    tree_map_with_path(lambda path, x: seen.append(path), TREE, is_leaf=is_list)
    assert seen == ["a.b", "a.c", "d", "f"]
    assert tree_flatten(TREE, is_leaf=is_list) == [
        ("a.b", 1),
        ("a.c", [2, (3, None)]),
        ("d", None),
        ("f", []),
    ]
    total = tree_reduce(lambda a, b: a + b, [[1], [2]], is_leaf=lambda t: t in ([1], [2]))
    assert total == [1, 2]


def test_paths():
    def paths(tree, **options):
        found = []
        tree_map_with_path(lambda path, x: found.append(path), tree, **options)
        return found

    assert paths(TREE) == [path for path, _ in FLAT]
    assert paths({3: [1]}, path="pre") == ["pre.3.0"]
    assert paths({3: [1]}, path=5) == ["5.3.0"]
    assert paths([1], path="") == ["0"]
    assert paths(1) == [None] and paths(1, path="pre") == ["pre"]


def test_flatten():
    assert tree_flatten(TREE) == FLAT
    assert tree_flatten(TREE, destination={}) == dict(FLAT)
    assert tree_flatten(TREE, prefix=".p") == [(f"p.{path}", leaf) for path, leaf in FLAT]
    assert tree_flatten(5) == [("", 5)] and tree_flatten(5, prefix=".x") == [("x", 5)]
    assert tree_flatten(None) == [("", None)] and tree_flatten({}) == []
    for destination in ([("first", 0)], {"first": 0}):
        assert tree_flatten(TREE, destination=destination) is destination
        assert len(destination) == 6
    with pytest.raises(ValueError, match=r"\[tree_flatten\] destination is a tuple, expected"):
        tree_flatten(TREE, destination=())


@pytest.mark.parametrize(
    "pairs, expected",
    [
        (FLAT, {"a": {"b": 1, "c": [2, [3, None]]}, "d": None}),
        ([], []),
        ([("", 5)], 5),
        ([("", 5), ("a", 3)], {"": 5, "a": 3}),
        ([("1.a", 1), ("0", 2)], [2, {"a": 1}]),
        ([("0", 1), ("2", 3)], [1, {}, 3]),
        ([("1", 1), ("x", 2)], {"1": 1, "x": 2}),
        ([("x", 1), ("1", 2)], {"x": 1, "1": 2}),
        ([("01", 1), ("1", 2)], {"01": 1, "1": 2}),
        ([("-1", 1)], {"-1": 1}),
        ([("²", 1)], {"²": 1}),
        ([("a.b.c", 1), ("a.b.d", 2), ("a.e", 3)], {"a": {"b": {"c": 1, "d": 2}, "e": 3}}),
        ([(f"{i}", i) for i in range(12)], list(range(12))),
    ],
)
def test_unflatten(pairs, expected):
    assert tree_unflatten(pairs) == expected
    assert tree_unflatten(dict(pairs)) == expected
    if "" not in dict(pairs) or len(pairs) == 1:
        assert tree_unflatten(tree_flatten(expected)) == expected


def test_reduce():
    def nested(a, b):
        return (a, b)

    assert tree_reduce(nested, {"a": [1, 2], "b": (3,)}) == ((1, 2), 3)
    assert tree_reduce(nested, [1, None]) == (1, None)
    assert tree_reduce(nested, [1, 2], 0) == ((0, 1), 2)
    assert tree_reduce(nested, {}) is None and tree_reduce(nested, {}, 7) == 7
    assert tree_reduce(lambda total, a: total + a.nbytes, [mx.ones((2,)), mx.ones((3,))], 0) == 20


@pytest.mark.parametrize(
    "a, b, expected",
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ([1, None], [None, 3], [1, 3]),
        ([1], [None, 3], [1, 3]),
        ([{}, 2], [1], [1, 2]),
        ((1, None), [None, 3], (1, 3)),
        (Pair(1, None), (None, 3), Pair(1, 3)),
        ({"a": [1, {}]}, {"a": [{}, {"x": 2}]}, {"a": [1, {"x": 2}]}),
        ({"a": []}, {"a": {"b": 3}}, {"a": {"b": 3}}),
        ({"a": []}, {}, {"a": []}),
        ({"a": 1, "n": None}, {"b": None}, {"a": 1, "n": None, "b": None}),
        (None, {"a": 1}, {"a": 1}),
        ({"a": 1}, None, {"a": 1}),
        ({}, 3, 3),
        (3, (), 3),
        ({}, {}, {}),
        (None, None, None),
    ],
)
def test_merge(a, b, expected):
    merged = tree_merge(a, b)
    assert merged == expected and type(merged) is type(expected)


def test_merge_where_both_have_something():
    assert tree_merge({"a": 1, "b": 2}, {"a": 3}, lambda x, y: (x, y)) == {"a": (1, 3), "b": 2}
    assert tree_merge({"a": {"x": 1}}, {"a": 3}, lambda x, y: (x, y)) == {"a": ({"x": 1}, 3)}
    for a, b in (({"a": 1}, {"a": 2}), ([1], [2]), ({"a": 1}, [1]), (1, 2)):
        with pytest.raises(ValueError, match=r"\[tree_merge\] both trees have something"):
            tree_merge(a, b)


def test_deep_trees():
    tree = 1
    for _ in range(100_000):
        tree = [tree]
    for function in (tree_flatten, lambda t: tree_map(str, t)):
        with pytest.raises(RecursionError):
            function(tree)
