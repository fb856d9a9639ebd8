// MatrixOperation: primitives that compute on stacks of matrices, in one call of a kernel.
#pragma once

#include <algorithm>
#include <array>

#include "metal_kernels/matrix.h"
#include "narrows/core/kernel_families.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/rules.h"
#include "narrows/plan/placement.h"

namespace narrows {

inline KernelId to_one(MatrixToOneOp op, Dtype in, Dtype out) {
  return {KernelFamily::matrix_to_one, static_cast<uint8_t>(op), in, out};
}
inline KernelId to_two(MatrixToTwoOp op, Dtype in, Dtype out) {
  return {KernelFamily::matrix_to_two, static_cast<uint8_t>(op), in, out};
}
inline KernelId to_three(MatrixToThreeOp op, Dtype in, Dtype out) {
  return {KernelFamily::matrix_to_three, static_cast<uint8_t>(op), in, out};
}

// All inputs and outputs are stacks of the same batch. No input is overwritten: a call may fail
// late, for a matrix that has no result, and the inputs must then be unchanged.
template <typename Fields = NoFields>
class MatrixOperation : public Record<Fields> {
 public:
  using Record<Fields>::Record;

  void place(Placement& placement) const override {
    for (uint32_t i = 0; i < placement.input_count(); ++i) {
      placement.pack(i);
    }
    const uint32_t last = placement.input_count() - 1;
    bool has_elements = false;
    for (uint32_t i = 0; i < placement.output_count(); ++i) {
      has_elements |= element_count(placement.output_shape(i)) > 0;
      placement.allocate(i);
    }
    if (has_elements) {
      const MatrixParams params =
          this->params(placement.input_shape(0), placement.input_shape(last));
      placement.workspace_for(
          this->kernel(placement.input_dtype(0), placement.output_dtype(0)),
          [&](auto&& take) { take(params); });
    }
  }

  void encode(Encoder& encoder, const StepView& step) const override {
    std::array<Operand, 5> operands;
    size_t count = 0;
    bool has_elements = false;
    for (const ArrayView& input : step.inputs) {
      operands[count++] = input.operand();
    }
    for (const ArrayView& output : step.outputs) {
      operands[count++] = output.operand();
      has_elements |= output.size() > 0;
    }
    if (has_elements) {
      encoder.run(
          {this->kernel(step.inputs[0].dtype, step.outputs[0].dtype),
           std::span(operands.data(), count),
           params(*step.inputs[0].shape, *step.inputs.back().shape),
           step.workspace});
    }
  }

  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    std::vector<OutputSpec> outputs = specs_of(op.outputs);
    for (OutputSpec& output : outputs) {
      output.shape = with_batch(size, output.shape);
    }
    return record(
        op.primitive, op.stream, std::move(outputs), as_batches(inputs, batched, size, op.stream));
  }

 protected:
  // The numbers that the fields give.
  virtual void set(MatrixParams&) const {
  }

 private:
  MatrixParams params(const Shape& a, const Shape& b) const {
    const size_t ndim = a.size();
    MatrixParams params{1, a[ndim - 2], a[ndim - 1], b[b.size() - 1], 0, 0};
    for (size_t i = 0; i + 2 < ndim; ++i) {
      params.batch *= a[i];
    }
    set(params);
    return params;
  }
};

} // namespace narrows
