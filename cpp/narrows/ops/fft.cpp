#include "narrows/ops/fft.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "metal_kernels/fft.h"
#include "narrows/core/kernel_families.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/join.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/pad.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/strided.h"
#include "narrows/plan/placement.h"
#include "narrows/run/encode.h"

namespace narrows::fft {
namespace {

constexpr const char* kNames[] = {"fft", "rfft", "irfft"};

// Longer columns are copied to rows, because the kernel needs memory for each element of a column
// in all its lanes.
constexpr int64_t kLongestColumn = 1 << 13;
// Bytes of plans are 64-bit numbers, even those of a whole batch in lanes.
constexpr int64_t kLongest = int64_t{1} << 40;

struct FourierFields {
  FftOp op_;
  int axis_;
  int64_t length_; // see FftParams
  bool inverse_;
  double scale_;

  static constexpr std::tuple fields{
      field("axis", &FourierFields::axis_),
      field("length", &FourierFields::length_),
      field("inverse", &FourierFields::inverse_),
      field("scale", &FourierFields::scale_)};
};

array record_fourier(const FourierFields& fields, const array& a, StreamOrDevice s);

// The transform along one axis, which has its length already.
class Fourier final : public Record<FourierFields> {
 public:
  using Record::Record;

  const char* name() const override {
    return kNames[static_cast<size_t>(op_)];
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::fft, static_cast<uint8_t>(op_), in, out};
  }
  void place(Placement& placement) const override {
    placement.pack(0);
    placement.allocate(0);
    placement.workspace_for(
        kernel(placement.input_dtype(0), placement.output_dtype(0)),
        [&](auto&& take) { take(params_of(placement.input_shape(0))); });
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& input = step.inputs[0];
    const ArrayView& output = step.outputs[0];
    encode_single(encoder, kernel(input.dtype, output.dtype), step, params_of(*input.shape));
  }
  // A transform is linear: jvp() is the transform itself, vjp() its adjoint.
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    switch (op_) {
      case FftOp::complex: {
        const array g = astype(cotangents[0], complex64, s);
        return {record_fourier({op_, axis_, length_, !inverse_, scale_}, g, s)};
      }
      case FftOp::real: {
        // The inverse transform counts all frequencies but the first and the middle one twice.
        const array g = astype(cotangents[0], complex64, s);
        const array once = multiply(g, weights(g, 0.5, s), s);
        return {record_fourier({FftOp::inverse_real, axis_, length_, false, scale_}, once, s)};
      }
      case FftOp::inverse_real:
        break;
    }
    const array g = astype(cotangents[0], float32, s);
    const array spectrum = record_fourier({FftOp::real, axis_, length_, false, scale_}, g, s);
    return {multiply(spectrum, weights(spectrum, 2, s), s)};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const array t = astype(tangents[0], op.inputs[0].dtype(), op.stream);
    return {record_fourier(*this, t, op.stream)};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t) const override {
    return {record_fourier({op_, axis_ + 1, length_, inverse_, scale_}, inputs[0], op.stream)};
  }

 private:
  FftParams params_of(const Shape& shape) const {
    FftParams params{};
    params.outer = params.inner = 1;
    params.length = length_;
    for (int i = 0; i < shape.ndim(); ++i) {
      params.outer *= i < axis_ ? shape[i] : 1;
      params.inner *= i > axis_ ? shape[i] : 1;
    }
    params.scale = scale_;
    params.inverse = inverse_;
    return params;
  }

  // 1 for the first frequency of half a spectrum, and for the middle one if there is one; else
  // `inside`.
  array weights(const array& spectrum, double inside, Stream s) const {
    const int64_t count = length_ / 2 + 1;
    const array k = arange(int64_t{0}, count, int64_t{1}, int32, s);
    array is_alone = equal(k, number(0, int32), s);
    if (length_ % 2 == 0) {
      is_alone = logical_or(is_alone, equal(k, number(length_ / 2, int32), s), s);
    }
    const array values = where(is_alone, number(1.0, float32), number(inside, float32), s);
    Shape shape(static_cast<size_t>(spectrum.ndim() - axis_), 1);
    shape[0] = count;
    return reshape(values, shape, s);
  }
};

// Long columns become rows.
array record_fourier(const FourierFields& f, const array& a, StreamOrDevice s) {
  const int last = a.ndim() - 1;
  if (f.axis_ != last && f.length_ > kLongestColumn) {
    const FourierFields along_last{f.op_, last, f.length_, f.inverse_, f.scale_};
    const array rows = moveaxis(a, f.axis_, last, s);
    return moveaxis(record_fourier(along_last, rows, s), last, f.axis_, s);
  }
  Shape shape = a.shape();
  shape[f.axis_] = f.op_ == FftOp::real ? f.length_ / 2 + 1 : f.length_;
  return record(
      std::make_shared<Fourier>(f.op_, f.axis_, f.length_, f.inverse_, f.scale_),
      s.stream(),
      shape,
      f.op_ == FftOp::inverse_real ? float32 : complex64,
      {&a, 1});
}

double scale_of(Norm norm, bool inverse, int64_t length) {
  const auto n = static_cast<double>(length);
  if (norm == Norm::ortho) {
    return 1 / std::sqrt(n);
  }
  return (norm == Norm::backward) == inverse ? 1 / n : 1;
}

// `a`, cut or filled up with zeros along the axis.
array with_length(const array& a, int axis, int64_t length, StreamOrDevice s) {
  const int64_t has = a.shape()[axis];
  if (has > length) {
    Shape stops = a.shape();
    stops[axis] = length;
    return slice(a, Shape(a.shape().size(), 0), stops, Strides(a.shape().size(), 1), s);
  }
  if (has < length) {
    std::vector<std::pair<int64_t, int64_t>> widths(a.shape().size());
    widths[axis].second = length - has;
    return pad(a, widths, "constant", number(0.0, a.dtype()), s);
  }
  return a;
}

// The axes in the given order, and the length that each gets.
struct Lengths {
  Axes axes;
  Shape lengths;
};

Lengths checked_lengths(
    const char* op,
    const array& a,
    const std::optional<Shape>& lengths,
    const std::optional<Axes>& some_axes,
    FftOp transform) {
  if (a.ndim() == 0) {
    fail<ValueError>("[", op, "] a scalar, expected at least one dimension.");
  }
  Lengths result;
  if (some_axes) {
    result.axes = *some_axes;
  } else {
    const int count = lengths ? lengths->ndim() : a.ndim();
    for (int i = a.ndim() - count; i < a.ndim(); ++i) {
      result.axes.push_back(i);
    }
  }
  normalize_axes(op, result.axes, a.shape()); // refuses axes that are repeated or out of range
  for (int& axis : result.axes) {
    axis = normalize_axis(op, axis, a.shape());
  }
  if (lengths && lengths->size() != result.axes.size()) {
    fail<ValueError>(
        "[",
        op,
        "] ",
        lengths->size(),
        " lengths for ",
        result.axes.size(),
        " axes, expected as many.");
  }
  for (size_t i = 0; i < result.axes.size(); ++i) {
    const int64_t has = a.shape()[result.axes[i]];
    const bool is_real = transform == FftOp::inverse_real && i + 1 == result.axes.size();
    const int64_t length = lengths ? (*lengths)[i] : is_real ? 2 * (has - 1) : has;
    if (length < 1 || length > kLongest) {
      fail<ValueError>(
          "[", op, "] a transform of length ", length, ", expected 1 to ", kLongest, ".");
    }
    result.lengths.push_back(length);
  }
  if (result.axes.empty() && transform != FftOp::complex) {
    fail<ValueError>("[", op, "] no axes, expected at least one.");
  }
  return result;
}

array along(
    FftOp op, const array& a, int axis, int64_t length, bool inverse, Norm norm, StreamOrDevice s) {
  const int64_t input = op == FftOp::inverse_real ? length / 2 + 1 : length;
  const double scale = scale_of(norm, inverse, length);
  const array x =
      with_length(astype(a, op == FftOp::real ? float32 : complex64, s), axis, input, s);
  const bool conjugate = op == FftOp::complex && inverse;
  return record_fourier({op, axis, length, conjugate, scale}, x, s);
}

// Along the last of the axes the transform is `op`, along the others a complex one.
array transform(
    const char* name,
    FftOp op,
    const array& a,
    const std::optional<Shape>& lengths,
    const std::optional<Axes>& axes,
    bool inverse,
    Norm norm,
    StreamOrDevice s) {
  const Lengths at = checked_lengths(name, a, lengths, axes, op);
  const size_t count = at.axes.size();
  array result = op == FftOp::real ? a : astype(a, complex64, s);
  for (size_t k = 0; k < count; ++k) {
    // Real numbers begin or end at the last axis.
    const size_t i = op == FftOp::inverse_real ? k : count - 1 - k;
    const FftOp along_axis = i + 1 == count ? op : FftOp::complex;
    result = along(along_axis, result, at.axes[i], at.lengths[i], inverse, norm, s);
  }
  return result;
}

std::optional<Shape> one_length(std::optional<int64_t> n) {
  return n ? std::optional(Shape{*n}) : std::nullopt;
}

} // namespace

Norm norm_named(const char* op, std::string_view name) {
  if (name == "backward") {
    return Norm::backward;
  }
  if (name == "ortho") {
    return Norm::ortho;
  }
  if (name == "forward") {
    return Norm::forward;
  }
  fail<ValueError>("[", op, "] norm '", name, "', expected 'backward', 'ortho' or 'forward'.");
}

array fft(const array& a, std::optional<int64_t> n, int axis, Norm norm, StreamOrDevice s) {
  return transform("fft", FftOp::complex, a, one_length(n), Axes{axis}, false, norm, s);
}

array ifft(const array& a, std::optional<int64_t> n, int axis, Norm norm, StreamOrDevice s) {
  return transform("ifft", FftOp::complex, a, one_length(n), Axes{axis}, true, norm, s);
}

array fftn(
    const array& a,
    const std::optional<Shape>& lengths,
    const std::optional<Axes>& axes,
    Norm norm,
    StreamOrDevice s) {
  return transform("fftn", FftOp::complex, a, lengths, axes, false, norm, s);
}

array ifftn(
    const array& a,
    const std::optional<Shape>& lengths,
    const std::optional<Axes>& axes,
    Norm norm,
    StreamOrDevice s) {
  return transform("ifftn", FftOp::complex, a, lengths, axes, true, norm, s);
}

array rfft(const array& a, std::optional<int64_t> n, int axis, Norm norm, StreamOrDevice s) {
  return transform("rfft", FftOp::real, a, one_length(n), Axes{axis}, false, norm, s);
}

array rfftn(
    const array& a,
    const std::optional<Shape>& lengths,
    const std::optional<Axes>& axes,
    Norm norm,
    StreamOrDevice s) {
  return transform("rfftn", FftOp::real, a, lengths, axes, false, norm, s);
}

array irfft(const array& a, std::optional<int64_t> n, int axis, Norm norm, StreamOrDevice s) {
  return transform("irfft", FftOp::inverse_real, a, one_length(n), Axes{axis}, true, norm, s);
}

array irfftn(
    const array& a,
    const std::optional<Shape>& lengths,
    const std::optional<Axes>& axes,
    Norm norm,
    StreamOrDevice s) {
  return transform("irfftn", FftOp::inverse_real, a, lengths, axes, true, norm, s);
}

namespace {

array shifted(
    const char* op,
    const array& a,
    const std::optional<Axes>& some_axes,
    bool back,
    StreamOrDevice s) {
  Axes axes;
  if (some_axes) {
    for (int axis : *some_axes) {
      axes.push_back(normalize_axis(op, axis, a.shape()));
    }
  } else {
    for (int i = 0; i < a.ndim(); ++i) {
      axes.push_back(i);
    }
  }
  Shape shifts;
  for (int axis : axes) {
    const int64_t length = a.shape()[axis];
    shifts.push_back(back ? length - length / 2 : length / 2);
  }
  return axes.empty() || a.size() == 0 ? a : roll(a, shifts, axes, s);
}

void check_frequencies(const char* op, int64_t n, double d) {
  if (n < 1) {
    fail<ValueError>("[", op, "] n ", n, ", expected at least 1.");
  }
  if (d == 0) {
    fail<ValueError>("[", op, "] d 0, expected another distance.");
  }
}

array divided(const array& k, int64_t n, double d, StreamOrDevice s) {
  const double step = static_cast<double>(n) * d;
  return divide(astype(k, float32, s), number(step, float32), s);
}

} // namespace

array fftshift(const array& a, const std::optional<Axes>& axes, StreamOrDevice s) {
  return shifted("fftshift", a, axes, false, s);
}

array ifftshift(const array& a, const std::optional<Axes>& axes, StreamOrDevice s) {
  return shifted("ifftshift", a, axes, true, s);
}

array fftfreq(int64_t n, double d, StreamOrDevice s) {
  check_frequencies("fftfreq", n, d);
  const array k = arange(-(n / 2), n - n / 2, int64_t{1}, int64, s);
  return ifftshift(divided(k, n, d, s), std::nullopt, s);
}

array rfftfreq(int64_t n, double d, StreamOrDevice s) {
  check_frequencies("rfftfreq", n, d);
  return divided(arange(int64_t{0}, n / 2 + 1, int64_t{1}, int64, s), n, d, s);
}

namespace {

array fourier_again(const OperationCall& call, FftOp op, const FourierFields& f) {
  const array& a = call.inputs[0];
  const Dtype dtype = op == FftOp::real ? float32 : complex64;
  const int64_t length = op == FftOp::inverse_real ? f.length_ / 2 + 1 : f.length_;
  if (f.axis_ < 0 || f.axis_ >= a.ndim() || f.length_ < 1 || f.length_ > kLongest ||
      a.dtype() != dtype || a.shape()[f.axis_] != length) {
    fail<ValueError>(
        "[",
        call.name,
        "] an array of shape ",
        to_string(a.shape()),
        " and dtype ",
        name_of(a.dtype()),
        ", expected ",
        length,
        " elements along axis ",
        f.axis_,
        " and dtype ",
        name_of(dtype),
        ".");
  }
  return record_fourier({op, f.axis_, f.length_, f.inverse_, f.scale_}, a, call.stream);
}

const RecordRow<FourierFields> kComplex(
    "fft", [](const OperationCall& call, const FourierFields& f) {
      return fourier_again(call, FftOp::complex, f);
    });
const RecordRow<FourierFields> kReal("rfft", [](const OperationCall& call, const FourierFields& f) {
  return fourier_again(call, FftOp::real, f);
});
const RecordRow<FourierFields> kInverseReal(
    "irfft", [](const OperationCall& call, const FourierFields& f) {
      return fourier_again(call, FftOp::inverse_real, f);
    });

} // namespace

} // namespace narrows::fft
