// What the finder of groups asks about a node.
#pragma once

#include "narrows/record/array.h"
#include "narrows/record/primitive.h"
#include "narrows/runtime/allocator.h"

namespace narrows {

inline bool is_computed(FusionRule::Kind kind) {
  using Kind = FusionRule::Kind;
  return kind == Kind::elementwise || kind == Kind::cast || kind == Kind::select;
}
inline bool is_generated(FusionRule::Kind kind) {
  return kind == FusionRule::Kind::constant || kind == FusionRule::Kind::sequence;
}
inline bool is_seen_through(FusionRule::Kind kind) {
  using Kind = FusionRule::Kind;
  return kind == Kind::broadcast || kind == Kind::expand_dims || kind == Kind::squeeze;
}

// Whether others than the plan's nodes may ask for the value.
inline bool is_held(const Output& output) {
  return output.refs.load(std::memory_order_acquire) > output.uses;
}

// Whether the value is a number, which programs contain.
inline bool is_literal(const Output& output) {
  return output.node->status() == Status::ready && output.buffer && output.buffer->is_literal;
}

inline int64_t bytes_of(const Output& output) {
  return rounded_bytes(element_count(output.shape) * size_of(output.dtype));
}

// Whether the graph does not need the node's value.
inline bool may_vanish(Node& node) {
  return node.output_count() == 1 && !is_held(node.output(0));
}

inline bool may_join(const array& input) {
  return input.node()->status() == Status::lazy && may_vanish(*input.node()) &&
         input.node()->primitive().fusion().kind != FusionRule::Kind::none;
}

} // namespace narrows
