// Primitive: what a node does. It places outputs, encodes work, says its attributes, and has the
// rules of transformations.
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

// An array of a step, as its primitive encodes it.
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

// A step, as its primitive encodes it.
struct StepView {
  std::span<const ArrayView> inputs;
  std::span<const ArrayView> outputs;
  Operand workspace;
  Backend& backend;
};

// A recorded operation, as its rules of differentiation and batching see it.
struct Recorded {
  const std::shared_ptr<const Primitive>& primitive;
  std::span<const array> inputs;
  std::span<const array> outputs;
  Stream stream;                             // the stream that the rules record on
  const std::vector<bool>* wanted = nullptr; // inputs whose cotangents are wanted; nullptr: all

  bool wants(size_t input) const {
    return !wanted || (*wanted)[input];
  }
  // Records the same primitive with other inputs, whose outputs have the same shapes.
  std::vector<array> again(std::span<const array> with) const;
  // Records the operations that it is made of, for a rule that it does not have. ValueError if it
  // is not made of others.
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
  bool shows_input = false; // whether an output may lie in the buffer of its first input
  const Axes* axes = nullptr;
  const void* data = nullptr;
};

// A primitive is immutable and shared by all nodes that do the same.
class Primitive {
 public:
  virtual ~Primitive() = default;

  // The operation's public name.
  virtual const char* name() const = 0;

  // Decides where the outputs lie: in new buffers, in inputs as views, or in inputs that are
  // overwritten (donated). Called when an evaluation is planned. The default is a new row-major
  // buffer for each output.
  virtual void place(Placement& placement) const;

  // Encodes the work of one step, as place() decided. Not called for views.
  virtual void encode(Encoder& encoder, const StepView& step) const = 0;

  // The kernel that encode() calls for an input of dtype `in` and an output of dtype `out`. For
  // operations without inputs `in` is `out`. The default is the kernel that copies and converts.
  virtual KernelId kernel(Dtype in, Dtype out) const {
    return copy_kernel(in, out);
  }

  // Records operations that compute the same outputs, if it is made of others. The default is
  // nothing. It serves where a rule is missing, and in files, where the operation itself has no
  // name.
  virtual std::vector<array> decompose(std::span<const array> inputs, Stream stream) const;

  // The rules. In lists of derivatives an empty handle stands for zeros. A derivative that a rule
  // gets has the shape and the dtype of its array. One that a rule returns has its shape, and is
  // converted. The defaults return nothing: then the operation has no such rule, and decompose() is
  // asked.

  // The cotangents of the inputs, given those of the outputs, of which at least one is not zero.
  // Derivatives of complex functions are conjugated, so that the gradient points uphill.
  virtual std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const;

  // The tangents of the outputs, given those of the inputs, of which at least one is not zero.
  virtual std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const;

  // The outputs for a whole batch of `size` entries. Inputs marked in `batched` have the batch as
  // their first dimension, and so have all outputs; `op.outputs` are those of one entry.
  virtual std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const;

  // The default: not at all.
  virtual FusionRule fusion() const {
    return {};
  }

  // The parameters, without the shapes and dtypes of the outputs.
  virtual Attributes attributes() const {
    return {};
  }

  // Whether the other primitive computes the same from the same inputs. The default is only equal
  // to itself. For records (record/fields.h) it follows from the parameters.
  virtual bool equals(const Primitive& other) const {
    return this == &other;
  }
  // Equal primitives have equal hashes.
  virtual size_t hash() const {
    return std::hash<const Primitive*>()(this);
  }
};

} // namespace narrows
