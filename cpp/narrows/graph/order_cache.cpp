#include "narrows/graph/order_cache.h"

#include <algorithm>

namespace narrows {
namespace {

constexpr size_t kMostEntries = 8;
constexpr uint32_t kMostNodes = 1u << 16; // of a graph that is worth its memory

} // namespace

const OrderAnswer* OrderCache::find(const OrderQuestion& question) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.question == question;
  });
  return found == entries_.end() ? nullptr : &found->answer;
}

void OrderCache::keep(OrderQuestion question, OrderAnswer answer) {
  if (question.graph.node_count > kMostNodes) {
    return;
  }
  if (entries_.size() < kMostEntries) {
    entries_.push_back({std::move(question), std::move(answer)});
    return;
  }
  entries_[next_] = {std::move(question), std::move(answer)};
  next_ = (next_ + 1) % kMostEntries;
}

OrderCache& order_cache() {
  static auto* cache = new OrderCache; // outlives evaluations at the program's end
  return *cache;
}

} // namespace narrows
