#include "narrows/record/origin.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <typeinfo>
#include <unordered_map>
#include <utility>
#include <vector>

#include "narrows/core/errors.h"

namespace narrows {
namespace {

bool asked_for_by_environment() {
  const char* text = std::getenv("NARROWS_TRACE_ORIGIN");
  return text && *text && std::string_view(text) != "0";
}

// Every place has one number, for as long as the process lives.
struct Places {
  std::mutex mutex;
  std::map<std::string, std::unordered_map<int, Origin>, std::less<>> numbers; // by file and line
  std::vector<std::pair<const std::string*, int>> by_number;
};

Places& places() {
  static Places* instance = new Places;
  return *instance;
}

std::atomic<Origin (*)()> origin_source{nullptr};
thread_local Origin scope_origin = 0;
constexpr const char* kNote = " (recorded at ";

template <typename Error>
[[noreturn]] void throw_noted(const Error& error, const std::string& note) {
  const std::string message = error.what();
  if (message.find(kNote) != std::string::npos) {
    throw;
  }
  throw Error(message + note);
}

} // namespace

namespace detail {

std::atomic<bool> traces_origin{asked_for_by_environment()};

Origin origin_of_caller() {
  if (scope_origin != 0) {
    return scope_origin;
  }
  auto* source = origin_source.load(std::memory_order_acquire);
  return source ? source() : 0;
}

} // namespace detail

bool set_trace_origin(bool on) {
  return detail::traces_origin.exchange(on);
}

void set_origin_source(Origin (*source)()) {
  origin_source.store(source, std::memory_order_release);
}

Origin origin_at(std::string_view file, int line) {
  Places& all = places();
  std::lock_guard lock(all.mutex);
  auto found = all.numbers.find(file);
  if (found == all.numbers.end()) {
    found = all.numbers.emplace(file, std::unordered_map<int, Origin>()).first;
  }
  Origin& number = found->second[line];
  if (number == 0) {
    all.by_number.emplace_back(&found->first, line);
    number = static_cast<Origin>(all.by_number.size());
  }
  return number;
}

std::string origin_text(Origin origin) {
  if (origin == 0) {
    return {};
  }
  Places& all = places();
  std::lock_guard lock(all.mutex);
  const auto& [file, line] = all.by_number[origin - 1];
  return *file + ":" + std::to_string(line);
}

OriginScope::OriginScope(Origin origin) : previous_(scope_origin) {
  if (origin != 0) {
    scope_origin = origin;
  }
}

OriginScope::~OriginScope() {
  scope_origin = previous_;
}

void rethrow_with_origin(Origin origin) {
  if (origin == 0) {
    throw;
  }
  const std::string note = kNote + origin_text(origin) + ")";
  try {
    throw;
  } catch (const ValueError& error) {
    throw_noted(error, note);
  } catch (const IndexError& error) {
    throw_noted(error, note);
  } catch (const TypeError& error) {
    throw_noted(error, note);
  } catch (const MemoryError& error) {
    throw_noted(error, note);
  } catch (const std::runtime_error& error) {
    // Errors of derived classes (an interrupt, or one of another library) stay as they are.
    if (typeid(error) == typeid(std::runtime_error)) {
      throw_noted(error, note);
    }
    throw;
  }
}

} // namespace narrows
