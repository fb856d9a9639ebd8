// RecomputeState: which values are dropped and made again where, and the bytes that this holds.
#pragma once

#include <algorithm>
#include <limits>
#include <utility>

#include "narrows/order/max_tree.h"
#include "narrows/order/recompute_problem.h"

namespace narrows {

// How the state decides what to do with values that a repeated step reads.
struct RecomputeRules {
  int64_t budget;
  uint32_t window = 96;      // a value made again is kept for a later use within so many steps
  uint32_t most_rekeeps = 2; // of a root beyond the budget
  double small_share = 0.25; // of the bytes that are to be saved: what is smaller is kept longer
  bool recompute = true;     // else only copies on the host are made
};

// In front of a step stand *clones* of earlier steps. A root is *touched* at a step if the step, or
// a clone in front of it, makes or reads it. The gap between two touches is kept, or dropped: then
// the root's maker is cloned in front of the step where the gap ends. Such a clone may be *from the
// host*: it reads nothing, and copies back what was copied there when the root was made. That is
// all there is to decide, and every change can be taken back.
class RecomputeState {
 public:
  // A gap of a root, named by the step where it ends.
  struct Gap {
    uint32_t root;
    uint32_t end;
  };
  struct Touch {
    uint32_t step;
    uint32_t reads; // by the step and clones in front of it
    bool dropped;   // the gap that ends here; of the first touch: it is made here
  };

  RecomputeState(const RecomputeProblem& problem, const RecomputeRules& rules);

  RecomputeRules& rules() {
    return rules_;
  }
  const RecomputeProblem& problem() const {
    return problem_;
  }
  int64_t peak() const {
    return problem_.steps.empty() ? 0 : memory_.highest(0, problem_.steps.size());
  }
  bool is_within_budget() const {
    return peak() <= rules_.budget;
  }
  // Of all clones.
  double extra_cost() const {
    return extra_cost_;
  }
  int64_t bytes_at(uint32_t step) const {
    return memory_.highest(step, step + 1);
  }
  // Valid until the next call.
  const std::vector<int64_t>& bytes_by_step() {
    return memory_.numbers(problem_.steps.size());
  }
  // What lives across the step whatever is dropped.
  int64_t undroppable(uint32_t step) const {
    return undroppable_[step];
  }
  const std::vector<Touch>& touches(uint32_t root) const {
    return touches_[root];
  }
  // In their order.
  const std::vector<uint32_t>& clones_before(uint32_t step) const {
    return clones_[step];
  }
  bool is_from_host(uint32_t clone, uint32_t step) const {
    const std::vector<uint32_t>& found = from_host_[step];
    return std::find(found.begin(), found.end(), clone) != found.end();
  }
  // The first touch at the step or later.
  size_t touch_at(uint32_t root, uint32_t step) const;
  // Whether the gap is there; false if the root is not touched there or nowhere before.
  bool has_gap(Gap gap, bool dropped) const;
  std::vector<Gap> dropped_gaps() const;

  // Whether there is room for a copy of it on the host.
  bool has_room_on_host(uint32_t root) const {
    return on_host_[root] > 0 || host_bytes_ + problem_.roots[root].bytes <= problem_.host_bytes;
  }

  // The time that dropping a kept gap would take, with all that has to be made again for it. Stops
  // above `limit`, with infinity. `held_longer` is called with each gap of other roots
  // that would be there for longer.
  template <typename HeldLonger>
  double cost_of_dropping(Gap gap, double limit, HeldLonger&& held_longer);

  // Changes since begin() can be taken back; calls nest.
  size_t begin();
  void commit();
  void roll_back(size_t to);

  void drop(Gap gap, bool to_host = false);
  // The clone that makes a dropped gap's root comes from the host from now on.
  void move_to_host(Gap gap);
  // The clone from the host that makes a dropped gap's root stands in front of an earlier step from
  // now on, which is behind the touch before. The root lives from there.
  void copy_earlier(Gap gap, uint32_t step);
  void keep(Gap gap);
  // Counts the bytes at steps that were changed. False if what such a step needs by itself
  // and what nobody can drop pass the budget there, and did not before.
  bool settle();
  // Whether keeping a dropped gap could stay within the budget. That can be told without a change
  // up to what chains of clones would no longer hold.
  bool could_keep(Gap gap) const;
  // Between drop() or keep() and settle().
  const std::vector<uint32_t>& changed_steps();
  // Gaps that the latest changes made.
  std::vector<Gap> take_new_gaps() {
    return std::exchange(new_gaps_, {});
  }

  // Elementary work done: searches are bounded by it, never by the clock.
  double work = 0;

 private:
  enum class Change : uint8_t {
    touch_added,
    touch_removed,
    touch_set,
    bytes,
    local,
    clone,
    unclone,
    from_host,
    not_from_host
  };
  struct Entry {
    Change change;
    uint32_t a;
    uint32_t b;
    Touch touch;
    int64_t bytes;
  };
  enum class Task : uint8_t { clone, clone_from_host, unclone, release };
  struct Pending {
    Task task;
    uint32_t id; // step, or root to release
    uint32_t at;
    int64_t saving;
  };
  // How a clone gets at a value.
  enum class Source : uint8_t { there, kept_longer, made_again };

  Source source_of(uint32_t root, uint32_t step, size_t touch, int64_t saving) const;
  bool is_kept_again(uint32_t root, uint32_t from, uint32_t to) const;
  bool stays(uint32_t root, size_t touch) const;
  bool fits(int64_t from, uint32_t to, int64_t bytes) const;
  bool has_clone(uint32_t step, uint32_t of) const;
  int64_t count_local(uint32_t step);
  int64_t not_wanted(uint32_t clone, uint32_t step) const;

  void add_touch(uint32_t root, size_t at, Touch touch);
  void remove_touch(uint32_t root, size_t at);
  void set_touch(uint32_t root, size_t at, Touch touch);
  void add_bytes(int64_t first, int64_t last, int64_t bytes);
  void add_span(int64_t from, uint32_t to, int64_t bytes);
  void set_local(uint32_t step, int64_t bytes);
  void add_clone(uint32_t step, uint32_t of);
  void remove_clone(uint32_t step, uint32_t of);
  void set_from_host(uint32_t step, uint32_t of, bool from_host);
  void note(const Entry& entry) {
    if (depth_ > 0) {
      journal_.push_back(entry);
    }
  }
  int64_t step_before(uint32_t root, size_t touch) const {
    return touch > 0 ? static_cast<int64_t>(touches_[root][touch - 1].step) : -1;
  }
  void mark(int64_t step) {
    if (step >= 0) {
      changed_.push_back(static_cast<uint32_t>(step));
    }
  }

  void run_tasks();
  void clone(uint32_t of, uint32_t step, int64_t saving);
  void clone_from_host(uint32_t of, uint32_t step, int64_t saving);
  void unread(uint32_t of, uint32_t step);
  void read(uint32_t root, uint32_t step, int64_t saving);
  void unclone(uint32_t of, uint32_t step);
  void release(uint32_t root, uint32_t step);
  void start_keeping(Gap gap);

  const RecomputeProblem& problem_;
  RecomputeRules rules_;
  std::vector<std::vector<Touch>> touches_;      // by root
  std::vector<std::vector<uint32_t>> clones_;    // by step
  std::vector<std::vector<uint32_t>> from_host_; // by step: those of its clones
  std::vector<int64_t> local_;                   // by step: bytes of what is touched there
  std::vector<int64_t> undroppable_; // by step: bytes that live across it whatever is dropped
  std::vector<uint32_t> rekeeps_;    // by root
  MaxTree memory_;                   // by step: local and what lives across it
  double extra_cost_ = 0;
  std::vector<uint32_t> on_host_; // by root: clones that come from the host
  int64_t host_bytes_ = 0;        // of roots that have such clones

  std::vector<Entry> journal_;
  int depth_ = 0;
  std::vector<Pending> tasks_;
  std::vector<uint32_t> changed_;
  std::vector<Gap> new_gaps_;

  // Scratch, valid where the stamp is the latest.
  uint32_t stamp_ = 0;
  std::vector<uint32_t> root_stamp_;
  std::vector<uint32_t> step_stamp_;
  std::vector<uint32_t> last_reader_; // by root
  std::vector<uint8_t> stays_;        // by root
  std::vector<uint32_t> chain_;
};

template <typename HeldLonger>
double RecomputeState::cost_of_dropping(Gap gap, double limit, HeldLonger&& held_longer) {
  constexpr size_t kLongestChain = 400;
  constexpr double kTooMuch = std::numeric_limits<double>::infinity();
  const uint32_t maker = problem_.roots[gap.root].maker;
  if (has_clone(gap.end, maker)) {
    return 0;
  }
  ++stamp_;
  work += 30;
  const int64_t saving = problem_.roots[gap.root].bytes;
  double cost = 0;
  chain_.assign(1, maker);
  step_stamp_[maker] = root_stamp_[gap.root] = stamp_;
  for (size_t i = 0; i < chain_.size(); ++i) {
    cost += problem_.steps[chain_[i]].cost;
    work += 15;
    if (cost > limit || chain_.size() > kLongestChain) {
      return kTooMuch;
    }
    for (uint32_t root : problem_.reads[chain_[i]]) {
      if (std::exchange(root_stamp_[root], stamp_) == stamp_) {
        continue;
      }
      const size_t touch = touch_at(root, gap.end);
      const Source source = source_of(root, gap.end, touch, saving);
      if (source == Source::kept_longer) {
        held_longer(step_before(root, touch), gap.end, problem_.roots[root].bytes);
      }
      const uint32_t step = problem_.roots[root].maker;
      if (source != Source::made_again || step_stamp_[step] == stamp_) {
        continue;
      }
      step_stamp_[step] = stamp_;
      if (has_clone(gap.end, step)) {
        continue;
      }
      if (problem_.is_cheaper_on_host(root)) {
        cost += problem_.host_costs[root];
        continue;
      }
      chain_.push_back(step);
      const std::vector<Touch>& touches = touches_[root];
      if (touch < touches.size() && touches[touch].dropped && touches[touch].step > gap.end &&
          is_kept_again(root, gap.end, touches[touch].step)) {
        cost -= problem_.steps[step].cost;
        held_longer(gap.end, touches[touch].step, problem_.roots[root].bytes);
      }
    }
  }
  return std::max(cost, 0.0);
}

} // namespace narrows
