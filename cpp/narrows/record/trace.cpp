#include "narrows/record/trace.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <new>
#include <unordered_set>
#include <utility>

#include "narrows/plan/placement.h"
#include "narrows/record/primitive.h"
#include "narrows/walk/linearize.h"

namespace narrows {
namespace {

thread_local Trace current;
thread_local uint32_t current_family =
    0; // the family that lives, also while nothing is being recorded
thread_local bool any_shape = false;
std::atomic<uint64_t> latest{0};

uint64_t next_number() {
  return ++latest;
}

class Placeholder final : public Primitive {
 public:
  const char* name() const override {
    return "placeholder";
  }
  void place(Placement&) const override {
    fail<ValueError>(
        "[eval] an argument of a function that is being traced (by compile, vmap or export) has no "
        "value there, expected the array not to be evaluated, printed or converted.");
  }
  void encode(Encoder&, const StepView&) const override {
  }
};

} // namespace

// The families that live, with the nodes that keep their inputs. A node leaves before it is
// destroyed.
class TraceFamilies {
 public:
  void begin(uint32_t id) {
    std::lock_guard lock(mutex_);
    families_.push_back({id, {}});
    count_ = families_.size();
  }

  // Releases the inputs of one node after the other, because that may destroy other nodes and what
  // they hold.
  void end(uint32_t id) {
    while (const array node = take_one(id)) {
      node.node()->detach();
    }
  }

  void list(std::vector<uint32_t>& ids) {
    ids.clear();
    if (count_ > 0) {
      std::lock_guard lock(mutex_);
      for (const Family& family : families_) {
        ids.push_back(family.id);
      }
    }
  }

  // False if the family has ended.
  bool add(Node& node) {
    std::lock_guard lock(mutex_);
    Family* family = find(node.family);
    if (!family) {
      return false;
    }
    try {
      family->nodes.insert(&node);
      node.keeps_inputs_ = true;
    } catch (const std::bad_alloc&) {
      // The node keeps its inputs for as long as the family lives.
    }
    return true;
  }

  void remove(Node& node) {
    std::lock_guard lock(mutex_);
    if (Family* family = find(node.family)) {
      family->nodes.erase(&node);
    }
  }

  std::mutex& mutex() {
    return mutex_;
  }

 private:
  struct Family {
    uint32_t id;
    std::unordered_set<Node*> nodes;
  };

  Family* find(uint32_t id) {
    const auto found = std::find_if(
        families_.begin(), families_.end(), [&](const Family& family) { return family.id == id; });
    return found == families_.end() ? nullptr : &*found;
  }

  // A handle on one of the nodes, which leaves the family. The family ends with its last node.
  array take_one(uint32_t id) {
    std::lock_guard lock(mutex_);
    Family* family = find(id);
    while (!family->nodes.empty()) {
      Node& node = **family->nodes.begin();
      family->nodes.erase(family->nodes.begin());
      for (uint32_t i = 0; i < node.output_count(); ++i) {
        if (node.output(i).retain_if_held()) {
          array held(&node.output(i));
          node.output(i).release();
          return held;
        }
      }
      // It is being destroyed.
    }
    std::swap(*family, families_.back());
    families_.pop_back();
    count_ = families_.size();
    return array();
  }

  std::mutex mutex_;
  std::vector<Family> families_; // as many as threads have one
  std::atomic<size_t> count_{0};
};

namespace {

// Never destroyed: arrays in static objects may outlive it.
TraceFamilies& families() {
  static auto* instance = new TraceFamilies;
  return *instance;
}

} // namespace

std::mutex& trace_families_mutex() {
  return families().mutex();
}

void Node::keep_inputs() {
  if (!families().add(*this)) {
    detach();
  }
}

void Node::forget_inputs_kept() {
  if (keeps_inputs_) {
    families().remove(*this);
  }
}

void LiveFamilies::find() {
  families().list(families_);
}

Trace current_trace() {
  return current;
}

bool shapes_vary() {
  return any_shape;
}

TraceFamily::TraceFamily() : is_outermost_(current_family == 0) {
  if (is_outermost_) {
    uint32_t id = 0;
    while (id == 0) { // 0 means none
      id = static_cast<uint32_t>(next_number());
    }
    families().begin(id);
    current_family = id;
  }
}

TraceFamily::~TraceFamily() {
  if (is_outermost_) {
    families().end(std::exchange(current_family, 0));
  }
}

TraceScope::TraceScope(bool shapes_vary)
    : trace_{next_number(), current_family},
      enclosing_(std::exchange(current, trace_)),
      enclosing_shapes_vary_(any_shape) {
  any_shape |= shapes_vary;
}

TraceScope::~TraceScope() {
  current = enclosing_;
  any_shape = enclosing_shapes_vary_;
}

array placeholder(const Shape& shape, Dtype dtype) {
  static const auto primitive = std::make_shared<const Placeholder>();
  array result = record(primitive, default_stream(default_device()), shape, dtype, {});
  result.node()->forget_pending(); // nobody can evaluate it
  return result;
}

std::vector<array> outputs_of(Node& node) {
  std::vector<array> outputs;
  outputs.reserve(node.output_count());
  for (uint32_t i = 0; i < node.output_count(); ++i) {
    outputs.emplace_back(&node, i);
  }
  return outputs;
}

std::vector<Node*> traced_nodes(std::span<const array> outputs, Trace trace) {
  Tape tape;
  std::lock_guard lock(graph_mutex());
  linearize(
      outputs, [&](Node* node) { return !trace.has(*node); }, kUnlimitedWidth, tape);
  return tape;
}

} // namespace narrows
