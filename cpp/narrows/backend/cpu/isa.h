// Which of the instruction-set variants of the inner loops this process runs.
#pragma once

namespace narrows::cpu {

// On x86-64 this is the microarchitecture level 2, 3 (AVX2, FMA, F16C) or 4 (AVX-512): the highest
// that the processor has, or a lower one that NARROWS_CPU_ISA ("v2", "v3", "v4") asks for.
// Elsewhere it is 2, the baseline of the build. It is decided once per process.
int cpu_isa_level();

// `call` in the namespace of an instruction set's variants: NARROWS_AT_ISA(3, f(x)) is v3::f(x).
// NARROWS_EACH_ISA(DO) is DO(v2) DO(v3) DO(v4), to declare the variants.
#if defined(__x86_64__)
#define NARROWS_AT_ISA(level, call) ((level) == 4 ? v4::call : (level) == 3 ? v3::call : v2::call)
#define NARROWS_EACH_ISA(DO) DO(v2) DO(v3) DO(v4)
#else
#define NARROWS_AT_ISA(level, call) ((void)(level), baseline::call)
#define NARROWS_EACH_ISA(DO) DO(baseline)
#endif
#define NARROWS_AT_BEST_ISA(call) NARROWS_AT_ISA(cpu_isa_level(), call)

} // namespace narrows::cpu
