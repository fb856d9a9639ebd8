#include "narrows/plan/copy.h"

#include "narrows/record/fields.h"
#include "narrows/run/encode.h"

namespace narrows {
namespace {

class Copy final : public Record<> {
 public:
  const char* name() const override {
    return "copy";
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    encode_copy(encoder, step.inputs[0], step.outputs[0]);
  }
};

} // namespace

const Primitive& copy_primitive() {
  static const Copy primitive;
  return primitive;
}

} // namespace narrows
