#include "narrows/plan/host_copy.h"

#include "narrows/plan/transfer.h"
#include "narrows/record/fields.h"
#include "narrows/run/encode.h"
#include "narrows/runtime/host_copies.h"

namespace narrows {
namespace {

// Copies the range that the input lies in, beside other work where the backend can do that.
void copy_range(const StepView& step, bool to_host) {
  const ArrayView& input = step.inputs[0];
  const ArrayView& output = step.outputs[0];
  HostCopies* copies = host_copies_of(step.backend);
  if (!copies) {
    transfer_range(input, output);
    return;
  }
  const int64_t size = size_of(input.dtype);
  const Extent extent = extent_of(*input.shape, *input.layout);
  const Operand from{input.buffer, extent.first * size};
  const Operand to{output.buffer, extent_of(*output.shape, *output.layout).first * size};
  if (extent.count == 0) {
    return;
  }
  if (to_host) {
    copies->copy_to_host(from, to, extent.count * size);
  } else {
    copies->copy_from_host(from, to, extent.count * size);
  }
}

class ToHost final : public Record<> {
 public:
  const char* name() const override {
    return "to_host";
  }
  void encode(Encoder&, const StepView& step) const override {
    copy_range(step, true);
  }
};

class FromHost final : public Record<> {
 public:
  const char* name() const override {
    return "from_host";
  }
  // After an error the copy on the host may have been transferred before.
  void encode(Encoder& encoder, const StepView& step) const override {
    if (step.inputs[0].buffer->source == step.outputs[0].buffer->source) {
      encode_copy(encoder, step.inputs[0], step.outputs[0]);
    } else {
      copy_range(step, false);
    }
  }
};

} // namespace

const std::shared_ptr<const Primitive>& to_host_primitive() {
  static const std::shared_ptr<const Primitive> primitive = std::make_shared<const ToHost>();
  return primitive;
}

const std::shared_ptr<const Primitive>& from_host_primitive() {
  static const std::shared_ptr<const Primitive> primitive = std::make_shared<const FromHost>();
  return primitive;
}

bool is_host_copy(const Primitive& primitive) {
  return &primitive == to_host_primitive().get() || &primitive == from_host_primitive().get();
}

} // namespace narrows
