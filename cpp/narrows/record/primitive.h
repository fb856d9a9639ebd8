// What a node does: how its outputs are placed, which work it encodes, how it prints.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "narrows/core/layout.h"
#include "narrows/record/attributes.h"
#include "narrows/runtime/backend.h"

namespace narrows {

class Placement;
class Primitive;
class array;

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

// A recorded operation as its rules of differentiation and batching see it.
struct Recorded {
  const std::shared_ptr<const Primitive>& primitive;
  std::span<const array> inputs;
  std::span<const array> outputs;
  Stream stream;                             // for what the rules record
  const std::vector<bool>* wanted = nullptr; // inputs whose cotangent is asked for; none: all

  bool wants(size_t input) const {
    return !wanted || (*wanted)[input];
  }
  // The same primitive with other inputs, for outputs of the same shapes.
  std::vector<array> again(std::span<const array> with) const;
  // The operations that it is made of, with these inputs, for a rule that it does not have.
  // ValueError if it is not made of others.
  std::vector<array> decomposed(std::span<const array> with, const char* rule) const;
};

// How an operation takes part in fused steps.
struct FusionRule {
  enum class Kind : uint8_t {
    none,
    elementwise, // op: ElementwiseOp
    cast,
    select,
    constant, // data: the bytes of an element
    sequence, // data: a Sequence
    reduce,   // op: ReduceOp, axes: ascending
    broadcast,
    expand_dims, // axes: ascending
    squeeze,     // axes: ascending
  };
  Kind kind = Kind::none;
  uint8_t op = 0;
  bool shows_input = false; // an output may lie in the buffer of its first input
  const Axes* axes = nullptr;
  const void* data = nullptr;
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

  // The kernel that encode() calls where an input has dtype `in` and the output `out` (of
  // operations without inputs `in` is that, too). The default: each input is copied and converted.
  virtual KernelId kernel(Dtype in, Dtype out) const {
    return copy_kernel(in, out);
  }

  // The same outputs by other operations, where it is made of others. Else, as by default, nothing.
  // It serves where a rule is not given, and files, where the operation itself has no name there.
  virtual std::vector<array> decompose(std::span<const array> inputs, Stream stream) const;

  // The rules. In lists of derivatives an empty handle stands for zeros. A derivative that is given
  // has the shape and dtype of its array, whatever that dtype is; one that is returned has the
  // shape, and is converted. The defaults return nothing: the operation has no such rule, and
  // decompose() is asked.

  // The cotangents of the inputs, given those of the outputs, of which one at least is not zero.
  // Derivatives of complex functions are conjugated: the gradient points uphill.
  virtual std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const;

  // The tangents of the outputs, given those of the inputs, of which one at least is not zero.
  virtual std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const;

  // The outputs for a batch of `size` at once. Inputs that are marked have it in front as one more
  // dimension, all outputs get it there; `op.outputs` are those of one entry.
  virtual std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const;

  // The default: not at all.
  virtual FusionRule fusion() const {
    return {};
  }

  // The parameters, besides the shapes and dtypes of the outputs.
  virtual Attributes attributes() const {
    return {};
  }

  // Whether the other computes the same of the same inputs. The default knows only itself; for
  // records (record/fields.h) it follows from their parameters.
  virtual bool equals(const Primitive& other) const {
    return this == &other;
  }
  // Equal primitives have equal ones.
  virtual size_t hash() const {
    return std::hash<const Primitive*>()(this);
  }
};

} // namespace narrows
