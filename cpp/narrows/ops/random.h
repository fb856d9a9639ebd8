// Random numbers from keys: the same key gives the same numbers on every device.
#pragma once

#include <memory>

#include "narrows/ops/common.h"

namespace narrows::random {

// A key is an array of shape (2,) and dtype uint32. If none is given, the next key of
// default_keys() is used. ValueError for arrays that are no keys.
using OptionalKey = std::optional<array>;

array key(uint64_t seed);

// (num, 2): independent keys, made of one key.
array split(const array& key, int64_t num = 2, StreamOrDevice s = {});

// A sequence of keys. Threads may share it.
class KeySequence {
 public:
  explicit KeySequence(uint64_t seed);
  ~KeySequence();

  // Starts the sequence anew.
  void seed(uint64_t seed);

  // A new key.
  array next(StreamOrDevice s = {});

  // The state, itself a key, from which all later keys follow.
  array state() const;
  void set_state(const array& state);

 private:
  struct Guarded;
  std::unique_ptr<Guarded> guarded_;
};

// Seeded by the system's source of randomness when it is first used.
KeySequence& default_keys();

// default_keys().seed(seed)
void seed(uint64_t seed);

// Random unsigned integers of 1, 2, 4 or 8 bytes. ValueError for other widths.
array bits(
    const Shape& shape,
    int width = 4,
    const OptionalKey& key = std::nullopt,
    StreamOrDevice s = {});

// Uniform numbers of [low, high), or [0, 1); of (high, low] if low is larger, and `low` where both
// are equal. The bounds are rounded to `dtype`, and `high` is never returned. ValueError unless
// `dtype` is floating point and the bounds broadcast to `shape`.
array uniform(
    const Shape& shape,
    Dtype dtype = float32,
    const OptionalKey& key = std::nullopt,
    StreamOrDevice s = {});
array uniform(
    double low,
    double high,
    const Shape& shape,
    Dtype dtype = float32,
    const OptionalKey& key = std::nullopt,
    StreamOrDevice s = {});
array uniform(
    const array& low,
    const array& high,
    const Shape& shape,
    Dtype dtype = float32,
    const OptionalKey& key = std::nullopt,
    StreamOrDevice s = {});

// Normal numbers of mean `loc` (0) and standard deviation `scale` (1), which broadcast to `shape`;
// floating point or complex64.
array normal(
    const Shape& shape,
    Dtype dtype = float32,
    const std::optional<array>& loc = std::nullopt,
    const std::optional<array>& scale = std::nullopt,
    const OptionalKey& key = std::nullopt,
    StreamOrDevice s = {});

// Vectors of normal numbers of mean `mean` (..., n) and covariance `cov` (..., n, n): float32, of
// the shape that `shape` and both batches broadcast to, and n. ValueError for other dtypes, and
// complex parameters.
array multivariate_normal(
    const array& mean,
    const array& cov,
    const Shape& shape = {},
    Dtype dtype = float32,
    const OptionalKey& key = std::nullopt,
    StreamOrDevice s = {});

// Integers (or bools: whether the integer is not zero) of [low, high), or `low` where that range is
// empty. The bounds broadcast to `shape`. They are the upper part of 64 random bits times the
// number of integers, or of 96 bits where that number may exceed 2^32. So no probability differs by
// more than 2^-32 of itself. Bounds that are arrays may have any real dtype; numbers out of the
// range of `dtype` wrap around. ValueError if a bound that is a number is out of that range.
array randint(
    __int128 low,
    __int128 high,
    const Shape& shape,
    Dtype dtype = int32,
    const OptionalKey& key = std::nullopt,
    StreamOrDevice s = {});
array randint(
    const array& low,
    const array& high,
    const Shape& shape,
    Dtype dtype = int32,
    const OptionalKey& key = std::nullopt,
    StreamOrDevice s = {});

// bool, true with probability `p`, a floating point array that broadcasts to `shape` (by default
// its own shape).
array bernoulli(
    const array& p,
    const std::optional<Shape>& shape = std::nullopt,
    const OptionalKey& key = std::nullopt,
    StreamOrDevice s = {});

// Standard normal numbers, truncated to [lower, upper]. The bounds broadcast to `shape` (by default
// their common shape).
array truncated_normal(
    const array& lower,
    const array& upper,
    const std::optional<Shape>& shape = std::nullopt,
    Dtype dtype = float32,
    const OptionalKey& key = std::nullopt,
    StreamOrDevice s = {});

// Numbers of the standard Gumbel distribution, -log(-log(u)).
array gumbel(
    const Shape& shape,
    Dtype dtype = float32,
    const OptionalKey& key = std::nullopt,
    StreamOrDevice s = {});

// Numbers of the Laplace distribution of mean `loc`.
array laplace(
    const Shape& shape,
    Dtype dtype = float32,
    double loc = 0,
    double scale = 1,
    const OptionalKey& key = std::nullopt,
    StreamOrDevice s = {});

// Indices (uint32) along `axis`, drawn with the probabilities softmax(logits, axis): one for each
// of the other positions, `num_samples` for each as a new last dimension, or an array of `shape`,
// to which logits without `axis` broadcast. ValueError if both are given.
array categorical(
    const array& logits,
    int axis = -1,
    const std::optional<Shape>& shape = std::nullopt,
    std::optional<int64_t> num_samples = std::nullopt,
    const OptionalKey& key = std::nullopt,
    StreamOrDevice s = {});

// The integers 0 to n - 1 (uint32) in random order. ValueError for negative `n`, and for n of 2^32
// and more.
array permutation(int64_t n, const OptionalKey& key = std::nullopt, StreamOrDevice s = {});
// The parts of `a` along the axis in random order. IndexError if the axis is out of range.
array permutation(
    const array& a, int axis = 0, const OptionalKey& key = std::nullopt, StreamOrDevice s = {});

} // namespace narrows::random
