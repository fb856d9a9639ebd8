// How a fused program becomes a dispatch, on all GPU backends.
#pragma once

#include <array>
#include <span>

#include "narrows/backend/gpu/dispatch.h"
#include "narrows/backend/gpu/program_space.h"
#include "narrows/runtime/program.h"

namespace narrows::gpu {

// Whether NARROWS_KERNEL_COMPILER=0 asks for programs to be interpreted only. =verbose says on the
// standard error what is compiled.
bool interprets_only();
bool tells_compilations();

// The limits of the kernel that interprets programs. It takes every dtype that the device has. It
// keeps no rows.
extern const ProgramLimits kProgramLimits;
// The limits on a device that has a compiler or not. Interpreted programs are slower than single
// kernels where arrays are large. So without a compiler there are none, unless they are asked for.
const ProgramLimits& program_limits(bool has_compiler);

// The dispatch of the kernel that interprets programs. Its places are operands of the call.
void interpret(const ProgramCall& call, const ProgramSpace& space, Dispatch& dispatch);
void interpret(const ProgramCall& call, Dispatch& dispatch);

// The operands that a dispatch takes, in the order of its places.
inline std::span<const Operand> operands_of(
    const ProgramCall& call,
    const Dispatch& dispatch,
    std::array<Operand, kMostOperands>& operands) {
  for (size_t i = 0; i < dispatch.place_count; ++i) {
    operands[i] = call.operands[dispatch.places[i].operand];
  }
  return {operands.data(), dispatch.place_count};
}

} // namespace narrows::gpu
