// What rules of differentiation and batching share.
#pragma once

#include <vector>

#include "narrows/ops/common.h"
#include "narrows/record/primitive.h"

namespace narrows {

// Zeros of the shape and dtype of `a`.
array zeros_like(const array& a, StreamOrDevice s = {});

// `a`, summed over the dimensions that broadcasting `shape` has added or stretched.
array sum_to(const array& a, const Shape& shape, StreamOrDevice s = {});

// The derivatives, with zeros in place of empty handles. `like` has the shapes and dtypes.
std::vector<array> filled(
    std::span<const array> derivatives, std::span<const array> like, StreamOrDevice s = {});

// The complex conjugate of `a`; `a` itself if it is real.
array conjugated(const array& a, StreamOrDevice s = {});

// jvp() of operations that are linear in all their inputs together.
std::vector<array> linear_jvp(const Recorded& op, std::span<const array> tangents);

// The shape with the size of the batch as its first dimension.
Shape with_batch(int64_t size, const Shape& shape);

// vmap() of operations whose parameters are the same for a batch as for an entry.
std::vector<array> again_for_batch(const Recorded& op, std::span<const array> inputs, int64_t size);

// Axes of an entry, as axes of the batch.
Axes behind_batch(const Axes& axes);

// A batch of `ndim`-dimensional entries, made of a batch of entries with fewer dimensions:
// dimensions of size 1 are inserted behind the batch, as broadcasting would do for an entry. An
// array that is not batched stays as it is.
array aligned(const array& a, bool batched, int ndim, StreamOrDevice s = {});

// `a`, repeated for the batch if it is not batched.
array as_batch(const array& a, bool batched, int64_t size, StreamOrDevice s = {});
std::vector<array> as_batches(
    std::span<const array> arrays,
    const std::vector<bool>& batched,
    int64_t size,
    StreamOrDevice s = {});

} // namespace narrows
