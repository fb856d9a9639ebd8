// Which variant of the products of integers this process runs: some processors have instructions
// for these beyond the levels of isa.h.
#pragma once

#include "narrows/backend/cpu/isa.h"

namespace narrows::cpu {

// Later ones of a processor's family are preferred.
enum class IntegerIsa {
  plain,   // those of cpu_isa_level()
  v3_vnni, // AVX-VNNI, beside AVX2
  v4_vnni, // AVX-512 VNNI
  v4_amx,  // tiles of AMX, beside AVX-512 VNNI
  dot,     // arm64: dot products of bytes
  i8mm,    // arm64: products of small matrices of bytes, beside these
};

// The best that the processor has and cpu_isa_level() includes, or a lower one that
// NARROWS_CPU_ISA asks for by its name. Tiles are taken if the system lets the process use them. It
// is decided once per process.
IntegerIsa integer_isa();

} // namespace narrows::cpu
