// ProgramLayout: what the text of a program's own kernel depends on, besides the program.
#pragma once

#include <array>
#include <span>
#include <string>

#include "narrows/backend/gpu/dispatch.h"
#include "narrows/backend/gpu/program_space.h"

namespace narrows::gpu {

// How threads share the elements of a row: thread t takes packs t, t + threads, ... in turn, each
// from its first element to its last. The kernel that interprets programs, kernels of their own,
// and kernels of reductions along contiguous rows (reduce.cpp) add up in this order. So results do
// not depend on which of them runs.
struct RowShares {
  int64_t pack;    // elements; they are neighbours along the last dimension
  int64_t packs;   // of a row
  int64_t threads; // of a threadgroup

  RowShares(const Program& program, const ProgramSpace& space);
};
inline constexpr int64_t kMostRowThreads = kThreads;

struct ProgramLayout {
  // How a thread reaches the elements of a pack, which are neighbours in the space.
  enum class Access : uint8_t {
    packed,   // at once
    repeated, // they are one
    apart,    // one by one
  };

  uint8_t row_ndim = 0;
  uint8_t ndim = 0;
  bool is_split = false;
  uint8_t pack = 1;     // elements that a thread takes at once
  bool is_wide = false; // elements are numbered by 64 bits
  // Threadgroups have a thread for each pack of a row, which computes everything once.
  bool is_resident = false;
  std::array<Access, NARROWS_PROGRAM_OPERANDS> access{}; // by operand of the call

  // `addresses`: of the call's operands.
  ProgramLayout(
      const ProgramCall& call,
      bool is_split,
      const ProgramSpace& space,
      std::span<const std::uintptr_t> addresses);
};

// Appends bytes that are different for programs, without their constants, and layouts that need
// different texts.
void append_key(const Program& program, const ProgramLayout& layout, std::string& key);

// The numbers that a kernel takes as parameters, in the order in which its text reads them: the
// packs of a row, or all packs; the shape, the last dimension in packs; the strides of each operand
// that is not constant; the constants. Sequences follow.
struct ProgramWords {
  size_t shape = 1;
  size_t strides; // of the first operand
  size_t numbers; // of the first constant
  size_t all;
  size_t sequences; // how many there are

  ProgramWords(const Program& program, const ProgramLayout& layout);
};

// The dispatch of the kernel that was made of the text. Its places are operands of the call.
void dispatch_text(
    const ProgramCall& call,
    const ProgramSpace& space,
    const ProgramLayout& layout,
    Dispatch& dispatch);

// As a parameter: for sequences, and for constants, whose 16-bit floats are float32.
ArangeParams params_of(const Sequence& sequence);
uint64_t bits_of_constant(const Program::Value& value);

} // namespace narrows::gpu
