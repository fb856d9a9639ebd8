#include "narrows/backend/cpu/kernels/tile_kernels.h"

#include "narrows/backend/cpu/isa.h"

namespace narrows::cpu {

#define NARROWS_DECLARE_ISA(isa)                       \
  namespace isa {                                      \
  void add_unary_integer_kernels(TileKernels& table);  \
  void add_unary_float_kernels(TileKernels& table);    \
  void add_binary_integer_kernels(TileKernels& table); \
  void add_binary_float_kernels(TileKernels& table);   \
  void add_cast_kernels(TileKernels& table);           \
  void add_copy_kernels(TileKernels& table);           \
  void add_select_kernels(TileKernels& table);         \
  }
#if defined(__x86_64__)
NARROWS_DECLARE_ISA(v2)
NARROWS_DECLARE_ISA(v3)
NARROWS_DECLARE_ISA(v4)
#else
NARROWS_DECLARE_ISA(baseline)
#endif
#undef NARROWS_DECLARE_ISA

namespace {

#define NARROWS_MAKE_TABLE(isa)             \
  [] {                                      \
    TileKernels table{};                    \
    isa::add_unary_integer_kernels(table);  \
    isa::add_unary_float_kernels(table);    \
    isa::add_binary_integer_kernels(table); \
    isa::add_binary_float_kernels(table);   \
    isa::add_cast_kernels(table);           \
    isa::add_copy_kernels(table);           \
    isa::add_select_kernels(table);         \
    return table;                           \
  }()

} // namespace

bool is_supported(Isa isa) {
#if defined(__x86_64__)
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                  __builtin_cpu_supports("f16c") && __builtin_cpu_supports("lzcnt") &&
                  __builtin_cpu_supports("movbe");
  switch (isa) {
    case Isa::baseline:
      return false;
    case Isa::v2:
      return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    case Isa::v3:
      return v3;
    case Isa::v4:
      return v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
  }
  return false;
#else
  return isa == Isa::baseline;
#endif
}

Isa selected_isa() {
#if defined(__x86_64__)
  const int level = cpu_isa_level();
  return level == 4 ? Isa::v4 : level == 3 ? Isa::v3 : Isa::v2;
#else
  return Isa::baseline;
#endif
}

const TileKernels& tile_kernels(Isa isa) {
#if defined(__x86_64__)
  // Each table is made by code of its own instruction set, so only when it is asked for.
  if (isa == Isa::v4) {
    static const TileKernels table = NARROWS_MAKE_TABLE(v4);
    return table;
  }
  if (isa == Isa::v3) {
    static const TileKernels table = NARROWS_MAKE_TABLE(v3);
    return table;
  }
  static const TileKernels table = NARROWS_MAKE_TABLE(v2);
  return table;
#else
  static_cast<void>(isa);
  static const TileKernels table = NARROWS_MAKE_TABLE(baseline);
  return table;
#endif
}

const TileKernels& tile_kernels() {
  static const TileKernels& kernels = tile_kernels(selected_isa());
  return kernels;
}

} // namespace narrows::cpu
