#include "narrows/backend/cpu/kernels/tile_kernels.h"

#include "narrows/backend/cpu/isa.h"

namespace narrows::cpu {

#define NARROWS_DECLARE_ISA(isa)                                               \
  namespace isa {                                                              \
  void add_unary_integer_kernels(TileKernels& table);                          \
  void add_unary_float_kernels(TileKernels& table);                            \
  void add_binary_integer_kernels(TileKernels& table);                         \
  void add_binary_float_kernels(TileKernels& table);                           \
  void add_cast_kernels(TileKernels& table);                                   \
  void add_copy_kernels(TileKernels& table);                                   \
  void add_select_kernels(TileKernels& table);                                 \
  /* Made by code of its own instruction set, so only when it is asked for. */ \
  static const TileKernels& all_tile_kernels() {                               \
    static const TileKernels all = [] {                                        \
      TileKernels table{};                                                     \
      add_unary_integer_kernels(table);                                        \
      add_unary_float_kernels(table);                                          \
      add_binary_integer_kernels(table);                                       \
      add_binary_float_kernels(table);                                         \
      add_cast_kernels(table);                                                 \
      add_copy_kernels(table);                                                 \
      add_select_kernels(table);                                               \
      return table;                                                            \
    }();                                                                       \
    return all;                                                                \
  }                                                                            \
  }
NARROWS_EACH_ISA(NARROWS_DECLARE_ISA)
#undef NARROWS_DECLARE_ISA

const TileKernels& tile_kernels([[maybe_unused]] int isa_level) {
  return NARROWS_AT_ISA(isa_level, all_tile_kernels());
}

const TileKernels& tile_kernels() {
  static const TileKernels& kernels = tile_kernels(cpu_isa_level());
  return kernels;
}

} // namespace narrows::cpu
