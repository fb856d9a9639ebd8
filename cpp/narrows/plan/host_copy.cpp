#include "narrows/plan/host_copy.h"

#include "narrows/plan/transfer.h"
#include "narrows/record/fields.h"
#include "narrows/run/encode.h"

namespace narrows {
namespace {

class ToHost final : public Record<> {
 public:
  const char* name() const override {
    return "to_host";
  }
  void encode(Encoder&, const StepView& step) const override {
    transfer_range(step.inputs[0], step.outputs[0]);
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
      transfer_range(step.inputs[0], step.outputs[0]);
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
