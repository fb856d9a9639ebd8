#include "narrows/ops/collective_order.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>

#include "narrows/record/trace.h"

namespace narrows {
namespace {

thread_local TokenScope* innermost = nullptr;

struct Chain {
  array token;
  std::atomic<bool> is_broken{false};
};

// Never destroyed: the arrays would be destroyed after what they need.
struct Chains {
  std::mutex mutex;
  std::deque<Chain> of_groups; // by number; elements stay where they are
};
Chains& chains() {
  static Chains* const result = new Chains;
  return *result;
}

Chain& chain_of(int group) {
  Chains& all = chains();
  std::lock_guard lock(all.mutex);
  while (all.of_groups.size() <= static_cast<size_t>(group)) {
    all.of_groups.emplace_back();
  }
  return all.of_groups[static_cast<size_t>(group)];
}

} // namespace

TokenScope::TokenScope(Start start) : start_(start), outer_(innermost) {
  innermost = this;
}

TokenScope::~TokenScope() {
  innermost = outer_;
}

TokenScope::Used& TokenScope::of(int group) {
  const auto known = std::find_if(
      used_.begin(), used_.end(), [&](const Used& used) { return used.group == group; });
  if (known != used_.end()) {
    return *known;
  }
  Used used{group, {}, {}};
  if (start_ == Start::placeholder) {
    used.first = placeholder(kTokenSpec.shape, kTokenSpec.dtype);
    used.last = used.first;
  }
  used_.push_back(std::move(used));
  return used_.back();
}

array latest_token(int group) {
  if (innermost) {
    return innermost->of(group).last;
  }
  Chain& chain = chain_of(group);
  if (chain.is_broken.exchange(false)) {
    chain.token = array();
  }
  return chain.token;
}

void set_latest_token(int group, const array& token) {
  if (innermost) {
    innermost->of(group).last = token;
  } else {
    chain_of(group).token = token;
  }
}

void forget_tokens(int group) {
  chain_of(group).is_broken = true;
}

} // namespace narrows
