#include "narrows/plan/tape_description.h"

#include <cstring>

#include "narrows/plan/run_event.h"
#include "narrows/record/array.h"
#include "narrows/record/primitive.h"
#include "narrows/runtime/literal.h"

namespace narrows {
namespace {

class Describer {
 public:
  explicit Describer(TapeDescription& description)
      : description_(description), epoch_(next_epoch()) {
    description_.words.clear();
    description_.inputs.clear();
  }

  void run(const Tape& tape) {
    description_.words.reserve(16 * tape.size());
    for (size_t at = 0; at < tape.size(); ++at) {
      prefetch_after(tape, at);
      tape[at]->pending = static_cast<uint32_t>(at);
      add_node(*tape[at]);
    }
    uint64_t hash = 1;
    for (const uint64_t word : description_.words) {
      hash = (hash ^ word) * 0x9e3779b97f4a7c15;
      hash ^= hash >> 32;
    }
    description_.hash = hash;
  }

 private:
  // Tells edges to nodes of the tape from edges to arrays from before it.
  static constexpr uint64_t kFromBefore = uint64_t{1} << 63;

  void add(uint64_t word) {
    description_.words.push_back(word);
  }
  template <typename Numbers>
  void add_all(const Numbers& values) {
    for (const int64_t value : values) {
      add(static_cast<uint64_t>(value));
    }
  }
  void add(Stream stream) {
    add(static_cast<uint64_t>(stream.device.type) << 48 |
        static_cast<uint64_t>(static_cast<uint16_t>(stream.device.index)) << 32 |
        static_cast<uint32_t>(stream.index));
  }

  void add_node(Node& node) {
    add(reinterpret_cast<uintptr_t>(node.primitive().name()));
    add(node.stream());
    add(uint64_t{node.input_count()} << 32 | node.output_count());
    for (uint32_t i = 0; i < node.input_count(); ++i) {
      add_edge(*node.inputs()[i].output());
    }
    for (uint32_t i = 0; i < node.output_count(); ++i) {
      add_array(node.output(i));
    }
  }

  void add_array(const Output& output) {
    add(uint64_t{handles_on(output)} << 32 | static_cast<uint64_t>(output.dtype) << 16 |
        output.shape.size());
    add_all(output.shape);
  }

  void add_edge(Output& from) {
    if (from.node->status() == Status::lazy) {
      add(uint64_t{from.node->pending} << 32 | from.index);
      return;
    }
    const bool is_new = from.epoch != epoch_;
    if (is_new) {
      from.epoch = epoch_;
      from.value = static_cast<uint32_t>(description_.inputs.size());
      description_.inputs.push_back(&from);
    }
    add(kFromBefore | from.value);
    if (is_new) {
      add_input(from);
    }
  }

  void add_input(const Output& input) {
    add_array(input);
    const Status status = input.node->status();
    add(static_cast<uint64_t>(status));
    add(static_cast<uint64_t>(bytes_awaited(input)));
    add_all(input.layout.strides);
    add(static_cast<uint64_t>(input.layout.offset));
    if (status != Status::ready) {
      add(input.node->stream());
      return;
    }
    add(uint64_t{static_cast<bool>(input.buffer)} << 2 |
        uint64_t{input.layout.row_contiguous} << 1 | uint64_t{input.layout.dense});
    if (input.buffer) {
      add_buffer(*input.buffer.get());
    }
  }

  void add_buffer(Buffer& buffer) {
    const bool is_new = buffer.epoch != epoch_;
    if (is_new) {
      buffer.epoch = epoch_;
      buffer.planned = buffers_++;
    }
    add(uint64_t{buffer.planned} << 1 | uint64_t{buffer.is_literal});
    if (!is_new) {
      return;
    }
    if (buffer.is_literal) {
      uint64_t value = 0;
      static_assert(sizeof(value) == sizeof(Literal::value));
      std::memcpy(&value, static_cast<const Literal&>(buffer).value, sizeof(value));
      add(value);
      return;
    }
    add(buffer.refs.load(std::memory_order_acquire));
    add(static_cast<uint64_t>(buffer.bytes));
    add(reinterpret_cast<uintptr_t>(buffer.source));
  }

  TapeDescription& description_;
  const uint64_t epoch_;
  uint32_t buffers_ = 0;
};

} // namespace

void describe(const Tape& tape, TapeDescription& description) {
  Describer(description).run(tape);
}

} // namespace narrows
