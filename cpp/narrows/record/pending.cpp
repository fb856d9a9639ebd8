#include "narrows/record/pending.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include "narrows/record/primitive.h"
#include "narrows/record/record_order.h"
#include "narrows/run/evaluate.h"

namespace narrows {
namespace {

constexpr uint64_t kNoBound = std::numeric_limits<uint64_t>::max();

thread_local int pauses = 0;

// A spin lock: it is held for a few instructions at every node that is recorded or destroyed, and
// costs half as much as a mutex.
class TableLock {
 public:
  void lock() {
    while (taken_.test_and_set(std::memory_order_acquire)) {
      std::this_thread::yield();
    }
  }
  void unlock() {
    taken_.clear(std::memory_order_release);
  }

 private:
  std::atomic_flag taken_;
};

uint64_t bytes_of(Node& node) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < node.output_count(); ++i) {
    const Output& output = node.output(i);
    bytes += static_cast<uint64_t>(element_count(output.shape)) * size_of(output.dtype);
  }
  return bytes;
}

// A bound on one count.
struct Bound {
  uint64_t most = kNoBound;
  uint64_t tolerated = 0; // what the latest automatic evaluation left

  bool passed_by(uint64_t count) const {
    return most != kNoBound && count > tolerated && count - tolerated > most;
  }
  void tolerate(uint64_t count) {
    tolerated = count;
  }
  void sink_to(uint64_t count) {
    tolerated = std::min(tolerated, count);
  }
};

uint64_t to_bound(const char* name, int64_t value) {
  if (value < 0) {
    fail<ValueError>(
        "[set_auto_eval] ", name, "=", value, ", expected an integer >= 0 (0: no bound).");
  }
  return value == 0 ? kNoBound : static_cast<uint64_t>(value);
}

int64_t from_bound(const Bound& bound) {
  return bound.most == kNoBound ? 0 : static_cast<int64_t>(bound.most);
}

} // namespace

// The pending nodes, oldest first, with gaps. Its lock is taken after graph_mutex(), and no other
// lock is taken under it. A node leaves before it loses its edges, so whoever holds the lock may
// follow them.
class PendingTable {
 public:
  // Returns whether a bound is passed.
  bool add(Node& node) {
    std::lock_guard guard(lock_);
    if (entries_.size() >= 2 * nodes_ + kFewEntries) {
      close_gaps();
    }
    set_slot(node, static_cast<uint32_t>(entries_.size()));
    entries_.push_back({&node, recorded_++, std::this_thread::get_id()});
    ++nodes_;
    if (node_bound_.most == kNoBound && byte_bound_.most == kNoBound) {
      return false;
    }
    bytes_ += counts_bytes() ? bytes_of(node) : 0;
    return node_bound_.passed_by(nodes_) || byte_bound_.passed_by(bytes_);
  }

  void remove(Node& node) {
    std::lock_guard guard(lock_);
    const uint32_t slot = node.pending_slot_.load(std::memory_order_relaxed);
    if (slot == Node::kNotPending) {
      return;
    }
    entries_[slot].node = nullptr;
    set_slot(node, Node::kNotPending);
    while (!entries_.empty() && !entries_.back().node) {
      entries_.pop_back();
    }
    --nodes_;
    node_bound_.sink_to(nodes_);
    if (counts_bytes()) {
      bytes_ -= bytes_of(node);
      byte_bound_.sink_to(bytes_);
    }
  }

  // The arrays of this thread's nodes that somebody holds, apart from the edges of pending nodes.
  // Under graph_mutex().
  std::vector<array> held_here() {
    std::lock_guard guard(lock_);
    const uint64_t epoch = next_epoch();
    for (const Entry& entry : entries_) {
      for (uint32_t i = 0; entry.node && i < entry.node->input_count(); ++i) {
        Output& input = *entry.node->inputs()[i].output();
        if (input.epoch != epoch) {
          input.epoch = epoch;
          input.uses = 0;
        }
        ++input.uses;
      }
    }
    const std::thread::id this_thread = std::this_thread::get_id();
    std::vector<array> held;
    for (const Entry& entry : entries_) {
      if (!entry.node || entry.thread != this_thread) {
        continue;
      }
      for (uint32_t i = 0; i < entry.node->output_count(); ++i) {
        Output& output = entry.node->output(i);
        const uint32_t edges = output.epoch == epoch ? output.uses : 0;
        if (output.refs.load(std::memory_order_acquire) > edges && output.retain_if_held()) {
          held.emplace_back(&output);
          output.release();
        }
      }
    }
    return held;
  }

  std::vector<uint32_t> places_of(std::span<Node* const> nodes) {
    std::lock_guard guard(lock_);
    std::vector<uint32_t> places;
    places.reserve(nodes.size());
    for (const Node* node : nodes) {
      places.push_back(node->pending_slot_.load(std::memory_order_relaxed));
      if (places.back() == Node::kNotPending) {
        return {};
      }
    }
    return places;
  }

  void tolerate_rest() {
    std::lock_guard guard(lock_);
    node_bound_.tolerate(nodes_);
    byte_bound_.tolerate(bytes_);
  }

  AutoEval set_bounds(AutoEval bounds) {
    const uint64_t most_bytes = to_bound("bytes", bounds.bytes);
    const uint64_t most_nodes = to_bound("nodes", bounds.nodes);
    std::lock_guard guard(lock_);
    const AutoEval previous{from_bound(byte_bound_), from_bound(node_bound_)};
    byte_bound_ = {most_bytes};
    node_bound_ = {most_nodes};
    bytes_ = counts_bytes() ? count_bytes() : 0;
    return previous;
  }

  AutoEval bounds() {
    std::lock_guard guard(lock_);
    return {from_bound(byte_bound_), from_bound(node_bound_)};
  }

  int64_t nodes() {
    std::lock_guard guard(lock_);
    return static_cast<int64_t>(nodes_);
  }

  PendingWork describe() {
    std::lock_guard guard(lock_);
    PendingWork work;
    work.nodes = static_cast<int64_t>(nodes_);
    work.bytes = static_cast<int64_t>(count_bytes());
    for (const Entry& entry : entries_) {
      if (entry.node) {
        work.oldest_op = entry.node->primitive().name();
        work.oldest_origin = origin_text(entry.node->origin());
        work.oldest_age = recorded_ - entry.number - 1;
        break;
      }
    }
    return work;
  }

  TableLock& lock() {
    return lock_;
  }

 private:
  static constexpr size_t kFewEntries = 64;

  struct Entry {
    Node* node; // nullptr: gone
    uint32_t number;
    std::thread::id thread;
  };

  static void set_slot(Node& node, uint32_t slot) {
    node.pending_slot_.store(slot, std::memory_order_release);
  }

  bool counts_bytes() const {
    return byte_bound_.most != kNoBound;
  }

  uint64_t count_bytes() const {
    uint64_t bytes = 0;
    for (const Entry& entry : entries_) {
      bytes += entry.node ? bytes_of(*entry.node) : 0;
    }
    return bytes;
  }

  void close_gaps() {
    size_t kept = 0;
    for (const Entry& entry : entries_) {
      if (entry.node) {
        set_slot(*entry.node, static_cast<uint32_t>(kept));
        entries_[kept++] = entry;
      }
    }
    entries_.resize(kept);
  }

  TableLock lock_;
  std::vector<Entry> entries_;
  uint64_t nodes_ = 0;
  uint64_t bytes_ = 0; // while they are bounded
  uint32_t recorded_ = 0;
  Bound node_bound_;
  Bound byte_bound_;
};

namespace {

// Never destroyed: arrays in static objects may outlive it.
PendingTable& table() {
  static PendingTable* instance = new PendingTable;
  return *instance;
}

// A child after fork() must find the lock free and the table whole. It is registered before
// graph_mutex(), because it is taken after it.
[[maybe_unused]] const int held_over_fork = pthread_atfork(
    [] { table().lock().lock(); },
    [] { table().lock().unlock(); },
    [] { table().lock().unlock(); });

std::atomic<int64_t> evaluations{0};
std::atomic<void (*)(std::span<const array>)> evaluator{nullptr};

void evaluate_pending() {
  if (pauses > 0) {
    return;
  }
  const AutoEvalPause pause;
  std::vector<array> outputs;
  {
    std::lock_guard lock(graph_mutex());
    outputs = table().held_here();
  }
  struct TolerateRest {
    ~TolerateRest() {
      table().tolerate_rest();
    }
  } when_done;
  if (outputs.empty()) {
    return;
  }
  ++evaluations;
  if (auto* evaluate = evaluator.load()) {
    evaluate(outputs);
  } else {
    eval(outputs);
  }
}

} // namespace

int64_t get_pending_nodes() {
  return table().nodes();
}

PendingWork pending_work() {
  return table().describe();
}

AutoEval set_auto_eval(AutoEval bounds) {
  return table().set_bounds(bounds);
}

AutoEval get_auto_eval() {
  return table().bounds();
}

int64_t auto_eval_count() {
  return evaluations;
}

void set_auto_evaluator(void (*evaluate)(std::span<const array>)) {
  evaluator = evaluate;
}

AutoEvalPause::AutoEvalPause() {
  ++pauses;
}

AutoEvalPause::~AutoEvalPause() {
  --pauses;
}

std::vector<uint32_t> record_places(std::span<Node* const> nodes) {
  return table().places_of(nodes);
}

void note_recorded(Node& node) {
  for (uint32_t i = 0; i < node.input_count(); ++i) {
    if (node.inputs()[i].node()->is_excluded()) {
      return;
    }
  }
  if (table().add(node)) {
    evaluate_pending();
  }
}

void Node::leave_pending() {
  table().remove(*this);
}

void Node::enter_pending() {
  table().add(*this);
}

} // namespace narrows
