#include "narrows/plan/tape_memory.h"

#include "narrows/record/primitive.h"

namespace narrows {
namespace {

class Mix {
 public:
  void add(uint64_t value) {
    state_ = (state_ ^ value) * 0x9e3779b97f4a7c15;
    state_ ^= state_ >> 32;
  }
  void add(const SmallVector<int64_t, 4>& values) {
    add(values.size());
    for (int64_t value : values) {
      add(static_cast<uint64_t>(value));
    }
  }
  uint64_t state() const {
    return state_ | 1; // never zero
  }

 private:
  uint64_t state_ = 1;
};

void add_input(Mix& mix, const Output& input) {
  if (input.node->status() == Status::lazy) {
    mix.add(uint64_t{input.node->pending} << 32 | input.index);
    return;
  }
  mix.add(input.refs.load(std::memory_order_relaxed));
  if (input.node->status() == Status::ready) {
    mix.add(input.layout.strides);
    mix.add(static_cast<uint64_t>(input.layout.offset));
    mix.add(input.buffer ? input.buffer->refs.load(std::memory_order_relaxed) : 0);
  }
}

} // namespace

uint64_t fingerprint_of(const Tape& tape) {
  Mix mix;
  for (size_t i = 0; i < tape.size(); ++i) {
    Node& node = *tape[i];
    node.pending = static_cast<uint32_t>(i);
    mix.add(reinterpret_cast<uintptr_t>(node.primitive().name()));
    for (uint32_t k = 0; k < node.input_count(); ++k) {
      add_input(mix, *node.inputs()[k].output());
    }
    for (uint32_t k = 0; k < node.output_count(); ++k) {
      const Output& output = node.output(k);
      mix.add(
          uint64_t{output.refs.load(std::memory_order_relaxed)} << 8 |
          static_cast<uint64_t>(output.dtype));
      mix.add(output.shape);
    }
  }
  return mix.state();
}

} // namespace narrows
