// Gated delta updates: a memory of keys and values that decays, is read and is written over time.
#pragma once

#include <optional>
#include <utility>

#include "narrows/ops/common.h"

namespace narrows::fast {

// For queries and keys (batch, length, key_heads, key_size), values (batch, length, heads,
// value_size), and decays and rates (batch, length, heads), where neighbouring heads share one head
// of keys: each head has a state S of shape (value_size, key_size), and at each time
//
//   S = decay * S;   S = S + rate * outer(value - S @ key, key);   result = S @ query
//
// Results have the shape of `v` and the dtype to which q, k and v promote; the last states, of
// shape (batch, heads, value_size, key_size), are float32, or float64 if that is. States begin with
// `initial_state` or zeros. Where `mask`, bool of shape (batch, length), is false, the state stays
// and the result is zero. ValueError for shapes and dtypes that do not fit.
//
// Derivatives are those of products of matrices over chunks of times.
std::pair<array, array> gated_delta_update(
    const array& q,
    const array& k,
    const array& v,
    const array& gamma,
    const array& beta,
    const std::optional<array>& initial_state = std::nullopt,
    const std::optional<array>& mask = std::nullopt,
    StreamOrDevice s = {});

} // namespace narrows::fast
