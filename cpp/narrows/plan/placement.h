// Placement: what Primitive::place() sees of a step, and how it reports its decisions.
#pragma once

#include <algorithm>

#include "narrows/plan/subplan.h"

namespace narrows {

class Planner;

class Placement {
 public:
  Placement(Planner& planner, Step& step, Plan& plan)
      : planner_(planner), step_(step), plan_(plan) {
  }

  uint32_t input_count() const {
    return step_.inputs.count;
  }
  uint32_t output_count() const {
    return step_.outputs.count;
  }
  const Shape& input_shape(uint32_t i) const {
    return input(i).shape();
  }
  Dtype input_dtype(uint32_t i) const {
    return input(i).dtype();
  }
  const Layout& input_layout(uint32_t i) const {
    return input(i).layout;
  }
  const Shape& output_shape(uint32_t i) const {
    return output(i).shape();
  }
  Dtype output_dtype(uint32_t i) const {
    return output(i).dtype();
  }
  Backend& backend() const {
    return *step_.backend;
  }

  // Output `i` gets a new buffer: row-major, or dense with these strides.
  void allocate(uint32_t i);
  void allocate(uint32_t i, const Strides& strides);

  // Output `i` lies in the buffer of an input.
  void view(uint32_t i, uint32_t input, Layout layout);

  // Output `i` takes buffer and layout of an input that dies in this step, if that is possible.
  // Returns whether it is. The step then overwrites the input, element by element.
  bool donate(uint32_t i, uint32_t input);

  // Whether two inputs are the same array in this step.
  bool are_same(uint32_t a, uint32_t b) const {
    return plan_.operands[step_.inputs.first + a] == plan_.operands[step_.inputs.first + b];
  }

  // Like donate(), but no other input may be overwritten, and this one only if it is no other input
  // as well.
  bool overwrite(uint32_t i, uint32_t input);

  // The step reads this input row-contiguous. If it is not, the plan gets a copy before the step.
  void pack(uint32_t input);

  // Scratch of the step.
  void workspace(int64_t bytes);

  // Scratch for all calls of a step, which run one after the other. each_call(take) calls
  // take(params) for each of them.
  template <typename EachCall>
  void workspace_for(const KernelId& kernel, EachCall&& each_call) {
    if (const Backend::Scratch scratch = backend().scratch(kernel.family)) {
      int64_t bytes = 0;
      each_call([&](const auto& params) {
        bytes = std::max(bytes, scratch(kernel, std::as_bytes(std::span(&params, 1))));
      });
      workspace(bytes);
    }
  }

  // The bytes of an input's buffer if the buffer dies in this step, which reads it once; else 0.
  int64_t bytes_of_dying(uint32_t input) const;

  // The step runs this plan. Inputs for which bytes_of_dying() is not 0 may be freed while it runs.
  void run(std::shared_ptr<const SubPlan> subplan);

 private:
  // Whether another input is the same value.
  bool repeats(uint32_t input) const;

  PlannedValue& input(uint32_t i) const {
    return plan_.values[plan_.operands[step_.inputs.first + i]];
  }
  PlannedValue& output(uint32_t i) const {
    return plan_.values[plan_.operands[step_.outputs.first + i]];
  }

  Planner& planner_;
  Step& step_;
  Plan& plan_;
};

} // namespace narrows
