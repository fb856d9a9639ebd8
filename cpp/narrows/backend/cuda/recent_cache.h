// RecentCache: values that are made once for each key. Those that were used last are kept.
#pragma once

#include <cstddef>
#include <iterator>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace narrows::cuda {

// A dropped value lives on as long as somebody holds it.
template <typename Key, typename Value>
class RecentCache {
 public:
  explicit RecentCache(size_t most) : most_(most) {
  }

  // The value of a key: make(key) if there is none yet. Thread-safe. Makes one value at a time.
  template <typename Make>
  std::shared_ptr<const Value> get(const Key& key, Make&& make) {
    std::lock_guard lock(mutex_);
    const auto known = places_.find(key);
    if (known != places_.end()) {
      recent_.splice(recent_.begin(), recent_, known->second);
      return known->second->value;
    }
    recent_.push_front({key, make(key)});
    try {
      places_.emplace(key, recent_.begin());
    } catch (...) {
      recent_.pop_front();
      throw;
    }
    if (recent_.size() > most_) {
      places_.erase(recent_.back().key);
      recent_.pop_back();
    }
    return recent_.front().value;
  }

  size_t size() const {
    std::lock_guard lock(mutex_);
    return recent_.size();
  }

 private:
  struct Entry {
    Key key;
    std::shared_ptr<const Value> value;
  };

  const size_t most_;
  mutable std::mutex mutex_;
  std::list<Entry> recent_; // the latest used first
  std::map<Key, typename std::list<Entry>::iterator> places_;
};

} // namespace narrows::cuda
