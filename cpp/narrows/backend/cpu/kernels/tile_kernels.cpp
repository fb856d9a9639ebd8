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

const TileKernels& tile_kernels([[maybe_unused]] int isa_level) {
#if defined(__x86_64__)
  // Each table is made by code of its own instruction set, so only when it is asked for.
  if (isa_level == 4) {
    static const TileKernels table = NARROWS_MAKE_TABLE(v4);
    return table;
  }
  if (isa_level == 3) {
    static const TileKernels table = NARROWS_MAKE_TABLE(v3);
    return table;
  }
  static const TileKernels table = NARROWS_MAKE_TABLE(v2);
  return table;
#else
  static const TileKernels table = NARROWS_MAKE_TABLE(baseline);
  return table;
#endif
}

const TileKernels& tile_kernels() {
  static const TileKernels& kernels = tile_kernels(cpu_isa_level());
  return kernels;
}

} // namespace narrows::cpu
