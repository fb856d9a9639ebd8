#include "narrows/order/settings.h"

#include <atomic>
#include <cstdlib>
#include <optional>

#include "narrows/core/errors.h"

namespace narrows {
namespace {

constexpr int64_t kDefaultWidth = 20;
constexpr int64_t kDefaultSmallBytes = int64_t{32} << 20;
constexpr OrderPolicy kDefaultPolicy = OrderPolicy::memory;

std::optional<int64_t> width_from_environment() {
  for (const char* name : {"NARROWS_BFS_MAX_WIDTH", "MLX_BFS_MAX_WIDTH"}) {
    if (const char* text = std::getenv(name)) {
      char* end = nullptr;
      const int64_t width = std::strtoll(text, &end, 10);
      if (end == text || *end != '\0' || width < 1) {
        fail<ValueError>("[", name, "] '", text, "' is not a width, expected an integer >= 1.");
      }
      return width;
    }
  }
  return std::nullopt;
}

OrderPolicy policy_from_environment(bool has_width) {
  if (const char* text = std::getenv("NARROWS_ORDER")) {
    return order_policy_from(text);
  }
  return has_width ? OrderPolicy::width : kDefaultPolicy;
}

struct ProcessOrder {
  std::atomic<OrderPolicy> policy;
  std::atomic<int64_t> width;
  std::atomic<int64_t> budget{0};
  std::atomic<bool> recompute{true};
  std::atomic<bool> offload{false};

  ProcessOrder() {
    const std::optional<int64_t> width_set = width_from_environment();
    policy = policy_from_environment(width_set.has_value());
    width = width_set.value_or(kDefaultWidth);
  }
};

ProcessOrder& process_order() {
  static ProcessOrder order;
  return order;
}

thread_local ScopedOrder scoped;

int64_t checked_width(int64_t width) {
  if (width < 1) {
    fail<ValueError>("[bfs_max_width] width ", width, ", expected an integer >= 1.");
  }
  return width;
}

int64_t checked_budget(int64_t bytes) {
  if (bytes < 0) {
    fail<ValueError>("[memory_budget] ", bytes, " bytes, expected an integer >= 0 (0: no budget).");
  }
  return bytes;
}

ScopedOrder with_policy(OrderPolicy policy) {
  ScopedOrder settings = scoped;
  settings.has_policy = true;
  settings.policy = policy;
  return settings;
}

ScopedOrder with_width(int64_t width) {
  ScopedOrder settings = with_policy(OrderPolicy::width);
  settings.width = checked_width(width);
  return settings;
}

ScopedOrder with_budget(int64_t bytes, bool recompute, bool offload) {
  ScopedOrder settings = scoped;
  settings.budget = checked_budget(bytes);
  settings.recompute = recompute;
  settings.offload = offload;
  return settings;
}

ScopedOrder with_small_bytes(int64_t bytes) {
  ScopedOrder settings = scoped;
  settings.small_bytes = bytes;
  return settings;
}

} // namespace

const char* name_of(OrderPolicy policy) {
  return policy == OrderPolicy::width ? "width" : "memory";
}

OrderPolicy order_policy_from(std::string_view name) {
  for (const OrderPolicy policy : {OrderPolicy::width, OrderPolicy::memory}) {
    if (name == name_of(policy)) {
      return policy;
    }
  }
  fail<ValueError>("[order_policy] '", name, "', expected 'memory' or 'width'.");
}

OrderOptions order_options() {
  const ProcessOrder& process = process_order();
  OrderOptions options;
  options.policy = scoped.has_policy ? scoped.policy : process.policy.load();
  options.width = scoped.width ? scoped.width : process.width.load();
  options.budget = scoped.budget >= 0 ? scoped.budget : process.budget.load();
  options.recompute = scoped.budget >= 0 ? scoped.recompute : process.recompute.load();
  options.offload = scoped.budget >= 0 ? scoped.offload : process.offload.load();
  options.small_bytes = scoped.small_bytes >= 0 ? scoped.small_bytes : kDefaultSmallBytes;
  return options;
}

OrderPolicy set_order_policy(OrderPolicy policy) {
  return process_order().policy.exchange(policy);
}

int64_t set_bfs_max_width(int64_t width) {
  checked_width(width);
  process_order().policy = OrderPolicy::width;
  return process_order().width.exchange(width);
}

int64_t set_memory_budget(int64_t bytes, bool recompute, bool offload) {
  checked_budget(bytes);
  process_order().recompute = recompute;
  process_order().offload = offload;
  return process_order().budget.exchange(bytes);
}

OrderScope::OrderScope(const ScopedOrder& settings) : previous_(scoped) {
  scoped = settings;
}

OrderScope::~OrderScope() {
  scoped = previous_;
}

OrderPolicyScope::OrderPolicyScope(OrderPolicy policy) : OrderScope(with_policy(policy)) {
}

BfsMaxWidthScope::BfsMaxWidthScope(int64_t width) : OrderScope(with_width(width)) {
}

MemoryBudgetScope::MemoryBudgetScope(int64_t bytes, bool recompute, bool offload)
    : OrderScope(with_budget(bytes, recompute, offload)) {
}

SmallBytesScope::SmallBytesScope(int64_t bytes) : OrderScope(with_small_bytes(bytes)) {
}

} // namespace narrows
