#include "narrows/ops/creation.h"

#include <cmath>
#include <cstring>

#include "metal_kernels/arange.h"
#include "narrows/core/kernel_families.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/shape.h"
#include "narrows/run/encode.h"

namespace narrows {
namespace {

struct FullFields {
  Scalar value_;

  static constexpr std::tuple fields{hidden_field("value", &FullFields::value_)};
};

class Full final : public Record<FullFields> {
 public:
  using Record::Record;

  const char* name() const override {
    return "full";
  }
  KernelId kernel(Dtype, Dtype out) const override {
    return {KernelFamily::fill, 0, out, out};
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    encode_fill(encoder, value_, step.outputs[0]);
  }
  FusionRule fusion() const override {
    return {.kind = FusionRule::Kind::constant, .data = value_.bytes};
  }
};

struct ArangeFields : Sequence {
  static constexpr std::tuple fields{
      field("start", &Sequence::start),
      field("step", &Sequence::step),
      hidden_field("int_start", &Sequence::int_start),
      hidden_field("int_step", &Sequence::int_step)};
};

class Arange final : public Record<ArangeFields> {
 public:
  using Record::Record;

  const char* name() const override {
    return "arange";
  }
  KernelId kernel(Dtype, Dtype out) const override {
    return {KernelFamily::arange, 0, out, out};
  }
  void encode(Encoder& encoder, const StepView& view) const override {
    const ArrayView& output = view.outputs[0];
    const Operand operand = output.operand();
    const ArangeParams params{output.size(), start, step, int_start, int_step, {}, {}};
    encoder.run({kernel(output.dtype, output.dtype), {&operand, 1}, params});
  }
  FusionRule fusion() const override {
    return {.kind = FusionRule::Kind::sequence, .data = static_cast<const Sequence*>(this)};
  }
};

template <typename V>
Scalar convert_scalar(V value, Dtype dtype) {
  return dispatch(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_same_v<T, float16_t> || std::is_same_v<T, bfloat16_t>) {
      return Scalar::of(T(static_cast<float>(value)), dtype);
    } else if constexpr (std::is_same_v<T, complex64_t>) {
      return Scalar::of(complex64_t(static_cast<float>(value), 0.0f), dtype);
    } else if constexpr (std::is_integral_v<T> && std::is_floating_point_v<V>) {
      // Converts by way of int64 where that is possible, so that negative numbers wrap as in a
      // cast.
      const bool fits = value >= -0x1p63 && value < 0x1p63;
      return Scalar::of(
          std::is_same_v<T, bool> ? static_cast<T>(value != 0)
          : fits                  ? static_cast<T>(static_cast<int64_t>(value))
          : value > 0 ? static_cast<T>(static_cast<uint64_t>(value < 0x1p64 ? value : 0))
                      : T{},
          dtype);
    } else {
      return Scalar::of(static_cast<T>(value), dtype);
    }
  });
}

template <typename V>
void require_in_range(const char* op, V value, bool fits, Dtype dtype) {
  if (!fits) {
    fail<ValueError>("[", op, "] ", value, " does not fit in ", name_of(dtype), ".");
  }
}

// The first and the last element, as integers.
void require_sequence_fits(const Sequence& sequence, int64_t size, Dtype dtype) {
  if (size == 0 || !is_integer(dtype)) {
    return;
  }
  const __int128 last = sequence.int_start + static_cast<__int128>(sequence.int_step) * (size - 1);
  require_fits("arange", sequence.int_start, dtype);
  if (last == static_cast<int64_t>(last)) {
    require_fits("arange", static_cast<int64_t>(last), dtype);
  } else {
    require_fits("arange", static_cast<double>(last), dtype);
  }
}

array record_arange(const Sequence& sequence, int64_t size, Dtype dtype, StreamOrDevice s) {
  if (dtype == bool_) {
    fail<ValueError>("[arange] dtype ", name_of(dtype), ", expected a number type.");
  }
  if (is_complex(dtype)) {
    return astype(record_arange(sequence, size, float32, s), dtype, s);
  }
  const Shape shape{size};
  checked_size("arange", shape);
  require_sequence_fits(sequence, size, dtype);
  return record(std::make_shared<Arange>(sequence), s.stream(), shape, dtype, {});
}

} // namespace

Scalar make_scalar(double value, Dtype dtype) {
  return convert_scalar(value, dtype);
}

Scalar make_scalar(int64_t value, Dtype dtype) {
  return convert_scalar(value, dtype);
}

Scalar make_scalar(complex64_t value, Dtype dtype) {
  return is_complex(dtype) ? Scalar::of(value, dtype)
                           : convert_scalar(static_cast<double>(value.real()), dtype);
}

void require_fits(const char* op, int64_t value, Dtype dtype) {
  if (is_integer(dtype)) {
    const int bits = static_cast<int>(8 * size_of(dtype));
    const bool fits = is_unsigned(dtype) ? value >= 0 && (bits == 64 || value >> bits == 0)
                                         : value >> (bits - 1) == 0 || value >> (bits - 1) == -1;
    require_in_range(op, value, fits, dtype);
  }
}

void require_fits(const char* op, double value, Dtype dtype) {
  if (is_integer(dtype)) {
    const int bits = static_cast<int>(8 * size_of(dtype)) - (is_unsigned(dtype) ? 0 : 1);
    const double end = std::ldexp(1.0, bits);
    const double whole = std::trunc(value);
    require_in_range(op, value, whole < end && whole >= (is_unsigned(dtype) ? 0 : -end), dtype);
  }
}

array full(const Shape& shape, const Scalar& value, StreamOrDevice s) {
  checked_size("full", shape);
  return record(std::make_shared<Full>(value), s.stream(), shape, value.dtype, {});
}

array full(const Shape& shape, const array& values, Dtype dtype, StreamOrDevice s) {
  checked_size("full", shape);
  return contiguous(broadcast_to(astype(values, dtype, s), shape, s), false, s);
}

array zeros(const Shape& shape, Dtype dtype, StreamOrDevice s) {
  return full(shape, make_scalar(int64_t{0}, dtype), s);
}

array ones(const Shape& shape, Dtype dtype, StreamOrDevice s) {
  return full(shape, make_scalar(int64_t{1}, dtype), s);
}

array arange(double start, double stop, double step, Dtype dtype, StreamOrDevice s) {
  if (!std::isfinite(start) || !std::isfinite(stop) || std::isnan(step) || step == 0) {
    fail<ValueError>(
        "[arange] start ",
        start,
        ", stop ",
        stop,
        ", step ",
        step,
        ": expected finite bounds and a step that is not zero.");
  }
  // Whether a step, which may be infinite, leads from `start` towards `stop`.
  const bool leads_away = step > 0 ? stop <= start : stop >= start;
  const double count = leads_away         ? 0
                       : std::isinf(step) ? 1
                                          : std::max(0.0, std::ceil((stop - start) / step));
  if (count > 0x1p59) {
    fail<ValueError>("[arange] ", count, " elements are more than an array can have.");
  }
  if (count > 0) {
    require_fits("arange", start, dtype);
  }
  const auto as_integer = [](double value) {
    return static_cast<int64_t>(std::fmax(-0x1p62, std::fmin(0x1p62, value)));
  };
  const double finite_step = count > 1 ? step : 0; // times 0 it must give 0
  const int64_t int_start = as_integer(start);
  const Sequence sequence{
      start, finite_step, int_start, as_integer(start + finite_step) - int_start};
  return record_arange(sequence, static_cast<int64_t>(count), dtype, s);
}

array arange(int64_t start, int64_t stop, int64_t step, Dtype dtype, StreamOrDevice s) {
  if (step == 0) {
    fail<ValueError>("[arange] step is 0, expected another number.");
  }
  const __int128 distance = static_cast<__int128>(stop) - start;
  const __int128 magnitude = step > 0 ? step : -static_cast<__int128>(step);
  const __int128 towards = step > 0 ? distance : -distance;
  const __int128 count = towards > 0 ? (towards + magnitude - 1) / magnitude : 0;
  if (count > (int64_t{1} << 59)) {
    fail<ValueError>("[arange] start ", start, " and stop ", stop, " are too far apart.");
  }
  const Sequence sequence{static_cast<double>(start), static_cast<double>(step), start, step};
  return record_arange(sequence, static_cast<int64_t>(count), dtype, s);
}

array linspace(
    double start, double stop, int64_t count, bool endpoint, Dtype dtype, StreamOrDevice s) {
  if (count < 0) {
    fail<ValueError>("[linspace] count ", count, " is negative, expected >= 0.");
  }
  const Dtype compute = dtype == float64 ? float64 : float32;
  if (count > 0) {
    require_fits("linspace", start, dtype);
  }
  if (count <= 1) {
    return full({count}, make_scalar(start, dtype), s);
  }
  const double intervals = static_cast<double>(endpoint ? count - 1 : count);
  const double last = static_cast<double>(count - 1) / intervals;
  require_fits("linspace", (1 - last) * start + last * stop, dtype);
  // (1 - t) * start + t * stop hits both ends exactly.
  const array t =
      divide(arange(int64_t{0}, count, int64_t{1}, compute, s), number(intervals, compute), s);
  const array one = number(1, compute);
  const array from = multiply(subtract(one, t, s), number(start, compute), s);
  const array to = multiply(t, number(stop, compute), s);
  return astype(add(from, to, s), dtype, s);
}

// Row index plus k, compared with the column index.
static array diagonal_mask(
    array (*compare)(const array&, const array&, StreamOrDevice),
    int64_t n,
    int64_t m,
    int k,
    StreamOrDevice s) {
  const array rows = arange(int64_t{k}, k + n, int64_t{1}, int64, s);
  const array columns = arange(int64_t{0}, m, int64_t{1}, int64, s);
  return compare(expand_dims(rows, {1}, s), columns, s);
}

static void require_matrix_size(const char* op, int64_t n, int64_t m) {
  checked_size(op, {n, m});
}

array eye(int64_t n, int64_t m, int k, Dtype dtype, StreamOrDevice s) {
  require_matrix_size("eye", n, m);
  return astype(diagonal_mask(equal, n, m, k, s), dtype, s);
}

array tri(int64_t n, int64_t m, int k, Dtype dtype, StreamOrDevice s) {
  require_matrix_size("tri", n, m);
  return astype(diagonal_mask(greater_equal, n, m, k, s), dtype, s);
}

static array triangle(const char* op, const array& a, bool lower, int k, StreamOrDevice s) {
  if (a.ndim() < 2) {
    fail<ValueError>(
        "[", op, "] array of shape ", to_string(a.shape()), ", expected at least 2 dimensions.");
  }
  const array mask =
      diagonal_mask(lower ? greater_equal : less_equal, a.shape(-2), a.shape(-1), k, s);
  return where(mask, a, number(0, a.dtype()), s);
}

array tril(const array& a, int k, StreamOrDevice s) {
  return triangle("tril", a, true, k, s);
}

array triu(const array& a, int k, StreamOrDevice s) {
  return triangle("triu", a, false, k, s);
}

namespace {

// The sequence of a recorded row. Its length is recorded, because it does not follow from rounded
// bounds.
array arange_again(const OperationCall& call, const ArangeFields& sequence) {
  const int64_t size = call.shape().ndim() == 1 ? call.shape()[0] : -1;
  int64_t distance;
  int64_t end;
  if (size < 0 || __builtin_mul_overflow(size, sequence.int_step, &distance) ||
      __builtin_add_overflow(sequence.int_start, distance, &end)) {
    fail<ValueError>("[arange] ", size, " elements, expected a sequence of int64.");
  }
  return record_arange(sequence, size, call.dtype(), call.stream);
}

const RecordRow<FullFields, 0> kFull("full", [](const OperationCall& call, const FullFields& f) {
  return full(call.shape(), f.value_, call.stream);
});
const RecordRow<ArangeFields, 0> kArange("arange", &arange_again);

} // namespace

} // namespace narrows
