#include "narrows/order/cache.h"

#include <algorithm>

namespace narrows {
namespace {

constexpr size_t kMostEntries = 8;
constexpr size_t kMostNodes = size_t{1} << 17; // of all graphs together, some 16 MB

} // namespace

const OrderAnswer* OrderCache::find(const OrderQuestion& question) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.question == question;
  });
  return found == entries_.end() ? nullptr : &found->answer;
}

void OrderCache::keep(OrderQuestion question, OrderAnswer answer) {
  nodes_ += question.graph.node_count;
  entries_.push_back({std::move(question), std::move(answer)});
  while (entries_.size() > kMostEntries || nodes_ > kMostNodes) {
    nodes_ -= entries_.front().question.graph.node_count;
    entries_.pop_front();
  }
}

OrderCache& order_cache() {
  static auto* cache = new OrderCache; // outlives evaluations at the program's end
  return *cache;
}

} // namespace narrows
