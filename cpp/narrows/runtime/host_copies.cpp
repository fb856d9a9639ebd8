#include "narrows/runtime/host_copies.h"

#include <atomic>
#include <cstdlib>

#include "narrows/core/errors.h"
#include "narrows/runtime/allocator.h"

namespace narrows {
namespace {

int64_t first_limit() {
  const char* text = std::getenv("NARROWS_OFFLOAD_LIMIT");
  char* end = nullptr;
  const long long bytes = text ? std::strtoll(text, &end, 10) : -1;
  return text && end != text && *end == '\0' && bytes >= 0 ? bytes : machine_memory() / 2;
}

std::atomic<int64_t>& limit() {
  static std::atomic<int64_t> bytes = first_limit();
  return bytes;
}

} // namespace

int64_t host_copy_limit() {
  return limit();
}

int64_t set_host_copy_limit(int64_t bytes) {
  if (bytes < 0) {
    fail<ValueError>("[set_offload_limit] ", bytes, " bytes, expected an integer >= 0.");
  }
  return limit().exchange(bytes);
}

} // namespace narrows
