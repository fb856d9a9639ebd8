#include "narrows/backend/cpu/isa.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace narrows::cpu {
namespace {

int supported_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  // Every processor with these has the rest of its level (LZCNT, MOVBE; AVX512CD) as well.
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
      !__builtin_cpu_supports("f16c") || !__builtin_cpu_supports("bmi") ||
      !__builtin_cpu_supports("bmi2")) {
    return 2;
  }
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
    return 3;
  }
  return 4;
#else
  return 2;
#endif
}

int chosen_level() {
  const int level = supported_level();
  if (const char* text = std::getenv("NARROWS_CPU_ISA")) {
    const std::string_view name = text;
    if (name == "v2" || name == "v3" || name == "v4") {
      return std::min(level, name[1] - '0');
    }
  }
  return level;
}

} // namespace

int cpu_isa_level() {
  static const int level = chosen_level();
  return level;
}

} // namespace narrows::cpu
