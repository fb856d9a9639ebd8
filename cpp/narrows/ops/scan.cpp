#include "narrows/ops/scan.h"

#include <array>

#include "metal_kernels/params.h"
#include "narrows/graph/encode.h"
#include "narrows/graph/placement.h"
#include "narrows/ops/elementwise.h"

namespace narrows {
namespace {

constexpr const char* kScanNames[kScanOpCount] = {
    "cumsum", "cumprod", "cummin", "cummax", "logcumsumexp"};

class Scan final : public Primitive {
 public:
  Scan(ScanOp op, std::optional<int> axis, bool reverse, bool inclusive)
      : op_(op), axis_(axis), reverse_(reverse), inclusive_(inclusive) {
  }

  const char* name() const override {
    return kScanNames[static_cast<size_t>(op_)];
  }
  void place(Placement& placement) const override {
    placement.pack(0);
    if (!placement.donate(0, 0)) {
      placement.allocate(0);
    }
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& input = step.inputs[0];
    const ArrayView& output = step.outputs[0];
    if (output.size() == 0) {
      return;
    }
    ScanParams params{};
    params.outer = params.inner = 1;
    params.length = output.size();
    if (axis_) {
      const Shape& shape = *input.shape;
      params.length = shape[*axis_];
      for (int i = 0; i < shape.ndim(); ++i) {
        params.outer *= i < *axis_ ? shape[i] : 1;
        params.inner *= i > *axis_ ? shape[i] : 1;
      }
    }
    params.reverse = reverse_;
    params.inclusive = inclusive_;
    encoder.launch(
        {KernelFamily::scan, static_cast<uint8_t>(op_), input.dtype, output.dtype},
        std::array{input.operand(), output.operand()},
        bytes_of(params),
        {params.inner, params.outer, 1});
  }
  void describe(std::ostream& stream) const override {
    if (axis_) {
      stream << "axis=" << *axis_ << ", ";
    }
    stream << "reverse=" << (reverse_ ? "true" : "false")
           << ", inclusive=" << (inclusive_ ? "true" : "false");
  }

 private:
  ScanOp op_;
  std::optional<int> axis_; // none: the elements in row-major order
  bool reverse_;
  bool inclusive_;
};

array scan(
    ScanOp op,
    const array& a,
    std::optional<int> axis,
    bool reverse,
    bool inclusive,
    Dtype dtype,
    StreamOrDevice s) {
  if (axis) {
    axis = normalize_axis(kScanNames[static_cast<size_t>(op)], *axis, a.shape());
  }
  return record(
      std::make_shared<Scan>(op, axis, reverse, inclusive),
      s.stream(),
      axis ? a.shape() : Shape{a.size()},
      dtype,
      {&a, 1});
}

} // namespace

array cumsum(
    const array& a,
    std::optional<int> axis,
    bool reverse,
    bool inclusive,
    std::optional<Dtype> dtype,
    StreamOrDevice s) {
  const array x = dtype ? astype(a, *dtype, s) : a;
  const Dtype result = x.dtype() == bool_ && !dtype ? int32 : x.dtype();
  return scan(ScanOp::sum, x, axis, reverse, inclusive, result, s);
}

array cumprod(
    const array& a,
    std::optional<int> axis,
    bool reverse,
    bool inclusive,
    std::optional<Dtype> dtype,
    StreamOrDevice s) {
  const array x = dtype ? astype(a, *dtype, s) : a;
  return scan(ScanOp::prod, x, axis, reverse, inclusive, x.dtype(), s);
}

array cummax(
    const array& a, std::optional<int> axis, bool reverse, bool inclusive, StreamOrDevice s) {
  return scan(ScanOp::max, a, axis, reverse, inclusive, a.dtype(), s);
}

array cummin(
    const array& a, std::optional<int> axis, bool reverse, bool inclusive, StreamOrDevice s) {
  return scan(ScanOp::min, a, axis, reverse, inclusive, a.dtype(), s);
}

array logcumsumexp(
    const array& a, std::optional<int> axis, bool reverse, bool inclusive, StreamOrDevice s) {
  const array x = astype(a, at_least_float(a.dtype()), s);
  return scan(ScanOp::logaddexp, x, axis, reverse, inclusive, x.dtype(), s);
}

} // namespace narrows
