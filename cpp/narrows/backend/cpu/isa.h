// Which of the instruction-set variants of the inner loops this process runs.
#pragma once

namespace narrows::cpu {

// On x86-64 the microarchitecture level 2, 3 (AVX2, FMA, F16C) or 4 (AVX-512): the highest that
// the processor has, or a lower one that NARROWS_CPU_ISA ("v2", "v3", "v4") asks for. Elsewhere
// always 2, the baseline of the build. Decided once per process.
int cpu_isa_level();

} // namespace narrows::cpu
