#include "narrows/ops/random.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <mutex>
#include <numbers>

#include "metal_kernels/random_bits.h"
#include "narrows/core/kernel_families.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/checks.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/indexing.h"
#include "narrows/ops/key_scope.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/scan.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/softmax.h"
#include "narrows/ops/sort.h"
#include "narrows/plan/placement.h"
#include "narrows/record/host_array.h"
#include "narrows/record/pending.h"
#include "narrows/run/encode.h"

namespace narrows::random {
namespace {

class RandomBits final : public Record<> {
 public:
  const char* name() const override {
    return "bits";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::random_bits, 0, in, out};
  }
  void place(Placement& placement) const override {
    placement.pack(0);
    placement.allocate(0);
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& output = step.outputs[0];
    const int64_t keys = step.inputs[0].size() / 2;
    if (output.size() == 0) {
      return;
    }
    const RandomBitsParams params{keys, output.size() / keys * size_of(output.dtype)};
    encoder.run(
        {kernel(uint32, output.dtype),
         std::array{step.inputs[0].operand(), output.operand()},
         params});
  }
  // Bits of different keys have nothing in common, so there is no derivative.
  std::vector<array> vjp(const Recorded&, std::span<const array>) const override {
    return {array()};
  }
  std::vector<array> jvp(const Recorded&, std::span<const array>) const override {
    return {array()};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t size) const override {
    return again_for_batch(op, inputs, size);
  }
};

constexpr float kAboveMinusOne = -0x1.fffffep-1f;

void require_floating(const char* op, Dtype dtype) {
  if (!is_floating(dtype)) {
    fail<ValueError>("[", op, "] dtype ", name_of(dtype), ", expected floating point.");
  }
}

void require_broadcast(const char* op, const Shape& from, const Shape& to) {
  if (broadcast_shapes(op, from, to) != to) {
    fail<ValueError>(
        "[",
        op,
        "] parameters of shape ",
        to_string(from),
        ", expected one that broadcasts to ",
        to_string(to),
        ".");
  }
}

// The largest number below 1.
double below_one(Dtype dtype) {
  return dtype == float16    ? 1 - 0x1p-11
         : dtype == bfloat16 ? 1 - 0x1p-8
         : dtype == float64  ? 1 - 0x1p-53
                             : 1 - 0x1p-24;
}

// Uniform numbers of [0, 1): bits as a fraction.
array unit_uniform(const Shape& shape, Dtype dtype, const OptionalKey& key, StreamOrDevice s) {
  if (dtype == float64) {
    const array fraction = right_shift(bits(shape, 8, key, s), number(11, uint64), s);
    return multiply(astype(fraction, float64, s), number(0x1p-53, float64), s);
  }
  const array fraction =
      multiply(astype(bits(shape, 4, key, s), float32, s), number(0x1p-32, float32), s);
  // Rounding to fewer digits may give 1.
  return astype(minimum(fraction, number(below_one(dtype), float32), s), dtype, s);
}

// low + (high - low) * unit, with numbers of one dtype.
array between(const array& low, const array& high, const array& unit, StreamOrDevice s) {
  return add(multiply(subtract(high, low, s), unit, s), low, s);
}

// Uniform numbers of (-1, 1), as float32. No product and no sum here rounds to 1. The distance of
// the bounds is a literal: the array that a subtraction leaves would keep steps from being fused.
array signed_uniform(const Shape& shape, const OptionalKey& key, StreamOrDevice s) {
  const array unit = unit_uniform(shape, float32, key, s);
  const array distance = number(1 - kAboveMinusOne, float32);
  return add(multiply(distance, unit, s), number(kAboveMinusOne, float32), s);
}

// A number, rounded to `dtype`.
double rounded(double value, Dtype dtype) {
  switch (dtype) {
    case float16:
      return static_cast<float>(float16_t(static_cast<float>(value)));
    case bfloat16:
      return static_cast<float>(bfloat16_t(static_cast<float>(value)));
    case float32:
      return static_cast<float>(value);
    default:
      return value;
  }
}

array row(const array& keys, int64_t i, StreamOrDevice s) {
  return squeeze(slice(keys, {i, 0}, {i + 1, 2}, {1, 1}, s), {0}, s);
}

} // namespace

array key(uint64_t seed) {
  return host_array("key", {2}, uint32, [&](std::byte* memory) {
    auto* words = reinterpret_cast<uint32_t*>(memory);
    words[0] = static_cast<uint32_t>(seed >> 32);
    words[1] = static_cast<uint32_t>(seed);
  });
}

array split(const array& key, int64_t num, StreamOrDevice s) {
  return bits({num, 2}, 4, key, s);
}

struct KeySequence::Guarded {
  std::mutex mutex;
  array state;
};

KeySequence::KeySequence(uint64_t seed) : guarded_(std::make_unique<Guarded>()) {
  guarded_->state = random::key(seed);
}

KeySequence::~KeySequence() = default;

void KeySequence::seed(uint64_t seed) {
  set_state(random::key(seed));
}

array KeySequence::next(StreamOrDevice s) {
  // The lock is never held during a wait for an evaluation, and an error leaves the state as it
  // was.
  const AutoEvalPause pause;
  const std::scoped_lock lock(guarded_->mutex);
  const array keys = split(guarded_->state, 2, s);
  guarded_->state = row(keys, 0, s);
  return row(keys, 1, s);
}

array KeySequence::state() const {
  const std::scoped_lock lock(guarded_->mutex);
  return guarded_->state;
}

void KeySequence::set_state(const array& state) {
  array previous = state; // released after the lock
  const std::scoped_lock lock(guarded_->mutex);
  std::swap(previous, guarded_->state);
}

void seed(uint64_t seed) {
  default_keys().seed(seed);
}

array bits(const Shape& shape, int width, const OptionalKey& optional_key, StreamOrDevice s) {
  if (width != 1 && width != 2 && width != 4 && width != 8) {
    fail<ValueError>("[bits] width ", width, ", expected 1, 2, 4 or 8 bytes.");
  }
  checked_size("bits", shape);
  const array key = optional_key ? *optional_key : default_key(s);
  if (key.shape() != Shape{2} || key.dtype() != uint32) {
    fail<ValueError>(
        "[bits] key of shape ",
        to_string(key.shape()),
        " and dtype ",
        name_of(key.dtype()),
        ", expected (2,) and uint32.");
  }
  const Dtype dtype = width == 1 ? uint8 : width == 2 ? uint16 : width == 4 ? uint32 : uint64;
  static const std::shared_ptr<const Primitive> primitive = std::make_shared<RandomBits>();
  return record(primitive, s.stream(), shape, dtype, {&key, 1});
}

array uniform(const Shape& shape, Dtype dtype, const OptionalKey& key, StreamOrDevice s) {
  require_floating("uniform", dtype);
  return unit_uniform(shape, dtype, key, s);
}

// A number that is rounded to `high` becomes `low`. It stands for half of a step below `high`, and
// numbers that are rounded to `low` stand for half of a step above it. Together they are one step.

array uniform(
    double low,
    double high,
    const Shape& shape,
    Dtype dtype,
    const OptionalKey& key,
    StreamOrDevice s) {
  require_floating("uniform", dtype);
  double from = rounded(low, dtype);
  double to = rounded(high, dtype);
  // If the distance of the bounds overflows, the numbers are drawn between halves of the bounds.
  const double factor = std::isinf(rounded(to - from, dtype)) ? 2 : 1;
  from /= factor;
  to /= factor;
  const double distance = rounded(to - from, dtype);
  const array unit = unit_uniform(shape, dtype, key, s);
  const array first = number(from, dtype);
  array numbers = add(multiply(number(distance, dtype), unit, s), first, s);
  const double last = rounded(rounded(distance * below_one(dtype), dtype) + from, dtype);
  if (std::isfinite(distance) && (from < to ? last >= to : from > to && last <= to)) {
    const array end = number(to, dtype);
    const array reached = from < to ? greater_equal(numbers, end, s) : less_equal(numbers, end, s);
    numbers = where(reached, first, numbers, s);
  }
  return factor == 1 ? numbers : multiply(numbers, number(factor, dtype), s);
}

array uniform(
    const array& low,
    const array& high,
    const Shape& shape,
    Dtype dtype,
    const OptionalKey& key,
    StreamOrDevice s) {
  require_floating("uniform", dtype);
  require_broadcast("uniform", broadcast_shapes("uniform", low.shape(), high.shape()), shape);
  array from = astype(low, dtype, s);
  array to = astype(high, dtype, s);
  const array overflows = isinf(subtract(to, from, s), s);
  const array factor = where(overflows, number(2, dtype), number(1, dtype), s);
  from = divide(from, factor, s);
  to = divide(to, factor, s);
  const array distance = subtract(to, from, s);
  const array numbers = add(multiply(distance, unit_uniform(shape, dtype, key, s), s), from, s);
  // Next to an infinite bound a step leads nowhere.
  const array nan = number(std::numeric_limits<double>::quiet_NaN(), dtype);
  const array direction = where(isfinite(distance, s), sign(distance, s), nan, s);
  const array reached =
      greater_equal(multiply(numbers, direction, s), multiply(to, direction, s), s);
  return multiply(where(reached, from, numbers, s), factor, s);
}

array normal(
    const Shape& shape,
    Dtype dtype,
    const std::optional<array>& loc,
    const std::optional<array>& scale,
    const OptionalKey& key,
    StreamOrDevice s) {
  require_inexact("normal", dtype);
  for (const std::optional<array>& parameter : {loc, scale}) {
    if (parameter) {
      require_broadcast("normal", parameter->shape(), shape);
    }
  }
  array result;
  std::optional<array> factor;
  if (scale) {
    factor = astype(*scale, dtype, s);
  }
  if (is_complex(dtype)) {
    // Each part has half of the variance.
    Shape parts = shape;
    parts.push_back(2);
    result = squeeze(view(erfinv(signed_uniform(parts, key, s), s), complex64, s), {-1}, s);
  } else {
    result = astype(erfinv(signed_uniform(shape, key, s), s), dtype, s);
    const array root = number(std::numbers::sqrt2, dtype);
    factor = factor ? multiply(root, *factor, s) : root;
  }
  if (factor) {
    result = multiply(*factor, result, s);
  }
  return loc ? add(result, astype(*loc, dtype, s), s) : result;
}

array bernoulli(
    const array& p, const std::optional<Shape>& shape, const OptionalKey& key, StreamOrDevice s) {
  require_floating("bernoulli", p.dtype());
  const Shape& result = shape ? *shape : p.shape();
  require_broadcast("bernoulli", p.shape(), result);
  // The largest bits round to 2^32. The bound is a little above, so that probability 1 is certain.
  const array threshold = multiply(astype(p, float32, s), number(0x1.000002p32, float32), s);
  return less(astype(bits(result, 4, key, s), float32, s), threshold, s);
}

array truncated_normal(
    const array& lower,
    const array& upper,
    const std::optional<Shape>& shape,
    Dtype dtype,
    const OptionalKey& key,
    StreamOrDevice s) {
  require_floating("truncated_normal", dtype);
  const Shape result =
      shape ? *shape : broadcast_shapes("truncated_normal", lower.shape(), upper.shape());
  const array from = astype(lower, dtype, s);
  const array to = astype(upper, dtype, s);
  const array root = number(std::numbers::sqrt2, dtype);
  const array low = erf(divide(from, root, s), s);
  const array high = erf(divide(to, root, s), s);
  const Shape bounds = broadcast_shapes("truncated_normal", low.shape(), high.shape());
  require_broadcast("truncated_normal", bounds, result);
  array u = between(low, high, unit_uniform(result, dtype, key, s), s);
  // The inverse error function is infinite at 1 and at -1.
  u = minimum(u, number(below_one(dtype), dtype), s);
  u = maximum(u, number(-below_one(dtype), dtype), s);
  return maximum(minimum(multiply(root, erfinv(u, s), s), to, s), from, s);
}

array gumbel(const Shape& shape, Dtype dtype, const OptionalKey& key, StreamOrDevice s) {
  require_floating("gumbel", dtype);
  // The logarithm of zero is infinite. Numbers that are rounded to zero are at most half of a step.
  const double least = dtype == float16 ? 0x1p-24 : dtype == float64 ? 0x1p-54 : 0x1p-33;
  const array u = maximum(unit_uniform(shape, dtype, key, s), number(least, dtype), s);
  return negative(log(negative(log(u, s), s), s), s);
}

array laplace(
    const Shape& shape,
    Dtype dtype,
    double loc,
    double scale,
    const OptionalKey& key,
    StreamOrDevice s) {
  require_floating("laplace", dtype);
  array u = signed_uniform(shape, key, s);
  if (dtype == float64) {
    u = astype(u, float64, s);
  }
  array result = multiply(sign(u, s), log1p(negative(abs(u, s), s), s), s);
  result = astype(result, dtype, s);
  if (scale != 1) {
    result = multiply(number(scale, dtype), result, s);
  }
  return loc != 0 ? add(number(loc, dtype), result, s) : result;
}

namespace {

// For one row of logits: where the sums of its probabilities reach uniform numbers.
array categories_of_row(
    const array& logits, const Shape& shape, const OptionalKey& key, StreamOrDevice s) {
  const array row = astype(reshape(logits, {logits.size()}, s), float32, s);
  const array sums = cumsum(softmax(row, Axes{0}, false, s), 0, false, true, std::nullopt, s);
  // Zero would be reached by what is impossible, and a number above the last sum by nothing.
  const array least = number(0x1p-33, float32);
  const array u = maximum(unit_uniform(shape, float32, key, s), least, s);
  const array reached = minimum(u, max(sums, Axes{0}, false, s), s);
  const array before = less(sums, expand_dims(reached, {-1}, s), s);
  return astype(sum(before, Axes{-1}, false, s), uint32, s);
}

} // namespace

array categorical(
    const array& logits,
    int axis,
    const std::optional<Shape>& shape,
    std::optional<int64_t> num_samples,
    const OptionalKey& key,
    StreamOrDevice s) {
  const int along = normalize_axis("categorical", axis, logits.shape());
  if (shape && num_samples) {
    fail<ValueError>("[categorical] shape and num_samples are given, expected at most one.");
  }
  Shape others = logits.shape();
  others.erase(static_cast<size_t>(along));
  if (shape) {
    require_broadcast("categorical", others, *shape);
  }
  Shape result = shape ? *shape : others;
  if (num_samples) {
    result.push_back(*num_samples);
  }
  const bool is_row = logits.size() > 0 && logits.size() == logits.shape()[along];
  if (is_row && !result.empty()) {
    return categories_of_row(logits, result, key, s);
  }
  // The position of the largest sum of a logit and Gumbel noise has the wanted distribution.
  if (num_samples) {
    Shape noise = logits.shape();
    noise.push_back(*num_samples);
    return argmax(
        add(expand_dims(logits, {-1}, s), gumbel(noise, float32, key, s), s), along, false, s);
  }
  if (!shape) {
    return argmax(add(logits, gumbel(logits.shape(), float32, key, s), s), along, false, s);
  }
  Shape noise = *shape;
  const int position = along - logits.ndim() + shape->ndim() + 1;
  noise.insert(static_cast<size_t>(position), logits.shape()[along]);
  return argmax(add(logits, gumbel(noise, float32, key, s), s), position, false, s);
}

array permutation(int64_t n, const OptionalKey& key, StreamOrDevice s) {
  if (n < 0) {
    fail<ValueError>("[permutation] ", n, " integers, expected 0 or more.");
  }
  return argsort(bits({n}, 4, key, s), 0, s);
}

array permutation(const array& a, int axis, const OptionalKey& key, StreamOrDevice s) {
  const int along = normalize_axis("permutation", axis, a.shape());
  const int64_t length = a.shape()[along];
  if (length == 0) {
    return a;
  }
  return take(a, permutation(length, key, s), along, s);
}

namespace {

// Keys may be a batch here, as vmap() records them. The shape then begins with that of the batch.
array bits_again(const OperationCall& call) {
  const array& keys = call.inputs[0];
  const Shape batch(keys.shape().begin(), keys.shape().end() - (keys.ndim() > 0 ? 1 : 0));
  const Shape& shape = call.shape();
  const bool fits = keys.ndim() > 0 && keys.shape().back() == 2 && keys.dtype() == uint32 &&
                    is_unsigned(call.dtype()) && batch.size() <= shape.size() &&
                    std::equal(batch.begin(), batch.end(), shape.begin());
  if (!fits) {
    fail<ValueError>(
        "[bits] keys of shape ",
        to_string(keys.shape()),
        " and dtype ",
        name_of(keys.dtype()),
        " for bits of shape ",
        to_string(shape),
        " and dtype ",
        name_of(call.dtype()),
        ".");
  }
  checked_size("bits", shape);
  return record(
      std::make_shared<RandomBits>(), call.stream.stream(), shape, call.dtype(), {&keys, 1});
}

const OperationRow kBits("bits", 1, bits_again);

} // namespace

} // namespace narrows::random
