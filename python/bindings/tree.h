// Arrays in nested lists, tuples and dicts.
#pragma once

#include <nanobind/nanobind.h>

#include <functional>
#include <span>
#include <vector>

#include "narrows/record/array.h"

namespace narrows::python {

// All arrays in the tree, in order. Leaves that are no arrays are left out.
std::vector<array> arrays_in(nanobind::handle tree);

// Containers other than lists, tuples and dicts say what they contain by a method,
// __narrows_arrays__(). So objects such as strings are not taken apart.
bool is_array_holder(nanobind::handle object);
nanobind::object arrays_held_by(nanobind::handle holder);

// The tree with change(leaf) in place of every leaf. Lists, tuples, named tuples and dicts are
// copied; other containers become lists. Dicts are walked in insertion order.
using LeafChange = std::function<nanobind::object(nanobind::handle leaf)>;
nanobind::object map_tree(nanobind::handle tree, const LeafChange& change);

// The tree with its arrays replaced by those from `next` on, in the order of arrays_in(). Moves
// `next` on.
nanobind::object with_arrays(nanobind::handle tree, std::span<const array> arrays, size_t& next);

// The form of a tree, without the values of its arrays; and a tree of this form with other arrays.
nanobind::object form_of(nanobind::handle tree);
nanobind::object filled_form(nanobind::handle form, std::span<const array> arrays);
// The same with next_leaf() in place of each array.
nanobind::object filled_form(
    nanobind::handle form, const std::function<nanobind::object()>& next_leaf);

// Makes a tree of containers have the content of another one: keeps the lists and dicts that both
// have, and puts in them what differs. Where both have a leaf that `stays`, the target keeps its
// own. A target that is an array becomes the other array; any other that is no container stays as
// it is.
using LeafTest = std::function<bool(nanobind::handle leaf)>;
void update_in_place(
    nanobind::handle target, nanobind::handle value, const LeafTest& stays = nullptr);

// All arrays in the tree. Other leaves are a ValueError, which names `op` and `what`.
std::vector<array> only_arrays_in(const char* op, const char* what, nanobind::handle tree);

} // namespace narrows::python
