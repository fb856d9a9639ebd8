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

const OrderAnswer* OrderCache::find_tighter(const OrderQuestion& question) const {
  const OrderAnswer* best = nullptr;
  for (const Entry& entry : entries_) {
    const OrderQuestion& other = entry.question;
    OrderOptions options = other.options;
    options.budget = question.options.budget;
    if (other.budget < question.budget && entry.answer.peak_bytes <= other.budget &&
        options == question.options && other.concurrency == question.concurrency &&
        other.fuse == question.fuse && other.host_bytes <= question.host_bytes &&
        other.graph == question.graph && (!best || entry.answer.extra < best->extra)) {
      best = &entry.answer;
    }
  }
  return best;
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
