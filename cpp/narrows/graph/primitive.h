// What a node does: how its outputs are placed, which work it encodes, how it prints.
#pragma once

#include <ostream>
#include <span>

#include "narrows/core/layout.h"
#include "narrows/runtime/backend.h"

namespace narrows {

class Placement;

// One array of a step, as the work sees it.
struct ArrayView {
  Buffer* buffer;
  const Shape* shape;
  const Layout* layout;
  Dtype dtype;

  int64_t size() const {
    return element_count(*shape);
  }
  Operand operand() const {
    return {buffer, layout->offset * size_of(dtype)};
  }
};

// A step as its primitive sees it when it encodes.
struct StepView {
  std::span<const ArrayView> inputs;
  std::span<const ArrayView> outputs;
  Operand workspace;
  Backend& backend;
};

// A primitive is immutable and shared by all nodes that do the same.
class Primitive {
 public:
  virtual ~Primitive() = default;

  // The operation's public name.
  virtual const char* name() const = 0;

  // Decides where the outputs go: new buffers, views of inputs or donated inputs. Called when
  // an evaluation is planned; the default is a new row-major buffer for each output.
  virtual void place(Placement& placement) const;

  // Encodes the work of one step, placed as place() decided. Not called for views.
  virtual void encode(Encoder& encoder, const StepView& step) const = 0;

  // Prints the parameters, "axis=1, keepdims=true", when there are any.
  virtual void describe(std::ostream&) const {
  }
};

} // namespace narrows
