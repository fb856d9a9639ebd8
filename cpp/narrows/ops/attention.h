// Attention: weighted means of values, without a matrix of all weights.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "narrows/ops/common.h"

namespace narrows::fast {

// Which keys a query sees: all, what a string says (only "causal"), or what an array says.
using Mask = std::variant<std::monostate, std::string, array>;

// softmax(scale * q @ k.T) @ v for q (batch, heads, queries, size), k (batch, key_heads, keys,
// size) and v (batch, key_heads, keys, value_size), in the dtype to which they promote and computed
// in float32 or better. `heads` is a multiple of `key_heads`: neighbours share one.
//
// A mask broadcasts to (batch, heads, queries, keys): true where a query sees a key, or numbers
// that are added to scores. Under "causal" the last query sees all keys, each one before it one key
// less. A query that sees no key weighs all alike. `sinks`, of shape (heads,), are the scores of
// one more key for each head, whose value is zero.
//
// Forward and backward (vjp) take memory that is linear in the lengths; so does jvp, which computes
// a block of queries after another. Only derivatives of derivatives keep all weights, and the
// cotangent of a mask is as large as that mask. ValueError for shapes and dtypes that do not fit.
array scaled_dot_product_attention(
    const array& q,
    const array& k,
    const array& v,
    float scale,
    const Mask& mask = {},
    const std::optional<array>& sinks = std::nullopt,
    StreamOrDevice s = {});

} // namespace narrows::fast
