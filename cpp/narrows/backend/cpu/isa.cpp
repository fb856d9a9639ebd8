#include "narrows/backend/cpu/isa.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string_view>

#include "narrows/backend/cpu/integer_isa.h"

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
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
#elif defined(__aarch64__)
#if defined(__APPLE__)
bool processor_has(const char* feature) {
  int found = 0;
  size_t size = sizeof(found);
  return sysctlbyname(feature, &found, &size, nullptr, 0) == 0 && found != 0;
}
#endif

bool is_allowed(IntegerIsa isa) {
#if defined(__linux__)
  constexpr unsigned long kDotProducts = 1ul << 20;    // of the first word
  constexpr unsigned long kMatrixProducts = 1ul << 13; // of the second word
  const bool has_dot = (getauxval(AT_HWCAP) & kDotProducts) != 0;
  const bool has_matrix = (getauxval(AT_HWCAP2) & kMatrixProducts) != 0;
#elif defined(__APPLE__)
  const bool has_dot = processor_has("hw.optional.arm.FEAT_DotProd");
  const bool has_matrix = processor_has("hw.optional.arm.FEAT_I8MM");
#else
  const bool has_dot = false;
  const bool has_matrix = false;
#endif
  return isa == IntegerIsa::plain || (has_dot && (isa == IntegerIsa::dot || has_matrix));
}
#else
bool is_allowed(IntegerIsa isa) {
  return isa == IntegerIsa::plain;
}
#endif

struct NamedIsa {
  std::string_view name;
  IntegerIsa isa;
};

// The best come first. A name asks for no better one, and that of a level, or "baseline", for none.
IntegerIsa chosen_integer_isa() {
#if defined(__aarch64__)
  constexpr NamedIsa kNamed[] = {{"i8mm", IntegerIsa::i8mm}, {"dot", IntegerIsa::dot}};
#else
  constexpr NamedIsa kNamed[] = {
      {"v4_amx", IntegerIsa::v4_amx},
      {"v4_vnni", IntegerIsa::v4_vnni},
      {"v3_vnni", IntegerIsa::v3_vnni}};
#endif
  const std::string_view name = asked_name();
  if (name == "v2" || name == "v3" || name == "v4" || name == "baseline") {
    return IntegerIsa::plain;
  }
  const auto* asked =
      std::find_if(std::begin(kNamed), std::end(kNamed), [&](const NamedIsa& named) {
        return named.name == name;
      });
  const auto* best = std::find_if(
      asked == std::end(kNamed) ? std::begin(kNamed) : asked,
      std::end(kNamed),
      [](const NamedIsa& named) { return is_allowed(named.isa); });
  return best == std::end(kNamed) ? IntegerIsa::plain : best->isa;
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
