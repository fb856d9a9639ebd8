#include "narrows/ops/extreme.h"

#include <limits>

#include "narrows/ops/distributed.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/stop_gradient.h"
#include "narrows/ops/view.h"

namespace narrows {
namespace {

struct ExtremeFields {
  int group_;

  static constexpr std::tuple fields{field("group", &ExtremeFields::group_)};
};

// Inputs: this process's array, and the extreme. The output is the extreme. How it was found has no
// derivatives; this has them.
class AllExtreme final : public Record<ExtremeFields, View> {
 public:
  using Record::Record;

  const char* name() const override {
    return "all_extreme";
  }
  void place(Placement& placement) const override {
    placement.view(0, 1, Layout(placement.input_layout(1)));
  }
  FusionRule fusion() const override {
    return {};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const array& g = cotangents[0];
    return {multiply(g, share(op, g.dtype()), op.stream), array()};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    if (!tangents[0]) {
      return {array()};
    }
    const array own = multiply(tangents[0], share(op, tangents[0].dtype()), op.stream);
    return {distributed::all_sum(own, group_, op.stream)};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    return again_for_batch(op, as_batches(inputs, batched, size, op.stream), size);
  }

 private:
  array share(const Recorded& op, Dtype dtype) const {
    return share_of_extreme(op.inputs[0], op.outputs[0], dtype, group_, op.stream);
  }
};

array with_rules(const array& x, const array& result, int group, StreamOrDevice s) {
  const std::array inputs = {x, result};
  return record(std::make_shared<AllExtreme>(group), s.stream(), x.shape(), x.dtype(), inputs);
}

// Integers in the order of floating-point numbers, given their bits, and the other way round. NaN
// must be put at one end.
array in_order(const array& bits, StreamOrDevice s) {
  const int64_t magnitude = bits.dtype() == int32 ? std::numeric_limits<int32_t>::max()
                                                  : std::numeric_limits<int64_t>::max();
  const array zero(0.0, bits.dtype());
  const array flipped = bitwise_xor(bits, astype(array(magnitude), bits.dtype(), s), s);
  return where(less(bits, zero, s), flipped, bits, s);
}

// The integer behind which no number stands: NaN among floating-point numbers.
array end_of_order(CollectiveOp op, Dtype integers, StreamOrDevice s) {
  using Small = std::numeric_limits<int32_t>;
  using Large = std::numeric_limits<int64_t>;
  const bool is_max = op == CollectiveOp::all_max;
  const int64_t value = integers == int32 ? (is_max ? Small::max() : Small::min())
                                          : (is_max ? Large::max() : Large::min());
  return astype(array(value), integers, s);
}

array extreme_real(
    CollectiveOp op, const array& x, const IntegerExtreme& extreme, StreamOrDevice s) {
  const Dtype integers = x.dtype() == float64 ? int64 : int32;
  const array ordered = in_order(view(x, integers, s), s);
  const array keys = where(isnan(x, s), end_of_order(op, integers, s), ordered, s);
  return view(in_order(extreme(keys), s), x.dtype(), s);
}

// The upper half of a key is the real part, the lower one the imaginary part.
array extreme_complex(
    CollectiveOp op, const array& x, const IntegerExtreme& extreme, StreamOrDevice s) {
  const array half(int64_t{32});
  const array middle(int64_t{1} << 31);
  const array low_bits((int64_t{1} << 32) - 1);
  const array bits = view(x, int64, s);
  // Both zeros are one number: what is added makes them the same.
  const array plain_zero(0.0, float32);
  const auto key_of = [&](const array& part) {
    const array number = add(view(astype(part, int32, s), float32, s), plain_zero, s);
    return astype(in_order(view(number, int32, s), s), int64, s);
  };
  const array real = key_of(bits);
  const array imaginary = key_of(right_shift(bits, half, s));
  const array ordered = add(left_shift(real, half, s), add(imaginary, middle, s), s);
  const array keys = where(isnan(x, s), end_of_order(op, int64, s), ordered, s);
  const array found = extreme(keys);

  const auto bits_of = [&](const array& key) {
    return astype(in_order(astype(key, int32, s), s), int64, s);
  };
  const array real_bits = bits_of(right_shift(found, half, s));
  const array imaginary_bits = bits_of(subtract(bitwise_and(found, low_bits, s), middle, s));
  const array joined =
      bitwise_or(left_shift(imaginary_bits, half, s), bitwise_and(real_bits, low_bits, s), s);
  return view(joined, complex64, s);
}

} // namespace

array extreme_of_integers(
    CollectiveOp op, const array& x, int group, const IntegerExtreme& extreme, StreamOrDevice s) {
  const array values = stop_gradient(x, s);
  if (x.dtype() == complex64) {
    return with_rules(x, extreme_complex(op, values, extreme, s), group, s);
  }
  const Dtype computed = x.dtype() == float64 ? float64 : float32;
  const array found = extreme_real(op, astype(values, computed, s), extreme, s);
  return with_rules(x, astype(found, x.dtype(), s), group, s);
}

array share_of_extreme(
    const array& x, const array& result, Dtype dtype, int group, StreamOrDevice s) {
  const array own = astype(equal(x, result, s), dtype, s);
  return divide(own, distributed::all_sum(own, group, s), s);
}

namespace {

const RecordRow<ExtremeFields, 2> kAllExtreme(
    "all_extreme",
    [](const OperationCall& call, const ExtremeFields& fields) -> std::vector<array> {
      const array& x = call.inputs[0];
      const array& result = call.inputs[1];
      if (x.shape() != result.shape() || x.dtype() != result.dtype()) {
        fail<ValueError>("[all_extreme] arrays that differ in shape or dtype, expected the same.");
      }
      process_group(fields.group_);
      return {with_rules(x, result, fields.group_, call.stream)};
    });

} // namespace

} // namespace narrows
