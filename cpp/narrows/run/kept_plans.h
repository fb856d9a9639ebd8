// KeptPlans: finished plans of graphs that come again, as in each step of a training loop.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "narrows/order/settings.h"
#include "narrows/plan/plan.h"
#include "narrows/plan/tape_description.h"

namespace narrows {

// The latest plans of a thread, without the nodes that they were made for. A plan is kept when its
// graph comes for the second time. It is used for a graph that is the same in everything that
// planning looks at, which is compared word by word. So it is the plan that would be made.
//
// Plans are kept if all their primitives are records (record/fields.h), because nothing but their
// parameters lives on then. Under graph_mutex().
class KeptPlans {
 public:
  // Fills the plan for the tape, which stands in the order that the options walk a graph in. False
  // if no plan is known.
  bool find(
      const Tape& tape,
      std::span<const array> outputs,
      const OrderOptions& options,
      bool fuse,
      Plan& plan);

  // Follows a find() that found nothing: `plan` has been made for its tape.
  void keep(const Plan& plan);

 private:
  struct Settings {
    OrderOptions options;
    bool fuse;
    bool tf32;
    Device device;                          // the default device
    std::array<const Backend*, 2> backends; // of the CPU and of the GPU

    bool operator==(const Settings&) const = default;
  };
  // Where an array of the plan comes from: output `index` of a node, or array `index` from before.
  struct Origin {
    uint32_t node;
    uint32_t index;
  };
  struct Entry {
    Settings settings;
    TapeDescription description;
    std::vector<std::shared_ptr<const Primitive>> primitives; // by node
    Plan plan;
    std::vector<uint32_t> step_nodes; // places in the tape
    std::vector<Origin> values;
  };

  static bool matches(const Entry& entry, const Tape& tape);
  static void bind(
      const Entry& entry,
      const Tape& tape,
      const TapeDescription& description,
      std::span<const array> outputs,
      Plan& plan);
  bool came_before(uint64_t hash);

  std::deque<Entry> entries_; // the latest used first
  std::deque<uint64_t> seen_; // hashes of the latest graphs without an entry

  // The latest question, until it is answered.
  Settings settings_{};
  Tape tape_;
  TapeDescription description_;
  bool is_worth_keeping_ = false;
};

} // namespace narrows
