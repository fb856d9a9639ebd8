#include "narrows/backend/cpu/isa.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "narrows/backend/cpu/integer_isa.h"

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

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

std::string_view asked_name() {
  const char* text = std::getenv("NARROWS_CPU_ISA");
  return text ? text : "";
}

// Names are v2, v3 and v4, and those of IntegerIsa. Others ask for nothing.
int chosen_level() {
  const int level = supported_level();
  const std::string_view name = asked_name();
  for (const std::string_view known : {"v2", "v3", "v4", "v3_vnni", "v4_vnni", "v4_amx"}) {
    if (name == known) {
      return std::min(level, name[1] - '0');
    }
  }
  return level;
}

#if defined(__x86_64__)
// The bits of cpuid's leaf 7 for AMX: the tiles, and their products of integers of eight bits.
bool processor_has_tiles() {
  unsigned eax = 7;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  return (edx >> 24 & 1) != 0 && (edx >> 25 & 1) != 0;
}

// Linux gives a process the state of tiles (8 KB for each thread that uses them) if it asks.
bool system_grants_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023;
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

bool is_allowed(IntegerIsa isa) {
  switch (isa) {
    case IntegerIsa::v3_vnni:
      return cpu_isa_level() >= 3 && __builtin_cpu_supports("avxvnni");
    case IntegerIsa::v4_vnni:
      return cpu_isa_level() == 4 && __builtin_cpu_supports("avx512vnni");
    case IntegerIsa::v4_amx:
      return is_allowed(IntegerIsa::v4_vnni) && processor_has_tiles() && system_grants_tiles();
    default:
      return true;
  }
}
#else
bool is_allowed(IntegerIsa isa) {
  return isa == IntegerIsa::plain;
}
#endif

IntegerIsa chosen_integer_isa() {
  const std::string_view name = asked_name();
  if (name == "v2" || name == "v3" || name == "v4") {
    return IntegerIsa::plain;
  }
  if (name != "v3_vnni" && name != "v4_vnni" && is_allowed(IntegerIsa::v4_amx)) {
    return IntegerIsa::v4_amx;
  }
  if (name != "v3_vnni" && is_allowed(IntegerIsa::v4_vnni)) {
    return IntegerIsa::v4_vnni;
  }
  return is_allowed(IntegerIsa::v3_vnni) ? IntegerIsa::v3_vnni : IntegerIsa::plain;
}

} // namespace

int cpu_isa_level() {
  static const int level = chosen_level();
  return level;
}

IntegerIsa integer_isa() {
  static const IntegerIsa isa = chosen_integer_isa();
  return isa;
}

} // namespace narrows::cpu
