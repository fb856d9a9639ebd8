// Repeats: the nodes that run again in a plan, as nodes of their own.
#pragma once

#include <utility>

#include "narrows/order/sequential.h"

namespace narrows {

// A node that runs again is copied: the copy has the same primitive, reads what the latest runs
// before it made, and is read by those that run behind it, whose edges are changed. Copies to the
// host and back are nodes, too. So everything that knows nodes knows it: plans, fusion, runs,
// errors, profiles. Nobody but the plan's nodes can see a value that is made again, so nobody sees
// that the edges are others.
//
// When this ends, edges are as they were, unless an evaluation has taken the nodes: if that fails,
// the nodes that did not run keep their copies, which can be evaluated as any others. All under
// graph_mutex().
class Repeats {
 public:
  struct Copy {
    Node* node;
    Node* original;
    bool is_run = true; // else it copies the value to the host, or back
  };

  Repeats() = default;
  Repeats(Repeats&& other) noexcept
      : extra(other.extra),
        total(other.total),
        changed_(std::exchange(other.changed_, {})),
        copies_(std::exchange(other.copies_, {})) {
  }
  Repeats& operator=(Repeats&& other) noexcept;
  ~Repeats() {
    undo();
  }

  // Fills the tape with the nodes in this order, copies of those that it names again.
  void apply(const Tape& nodes, const Order& order, Tape& tape);

  // The edges are as they were; the copies are gone.
  void undo();
  // The same, but the copies, without edges, live as long as these handles.
  std::vector<array> undo_and_release();
  // The nodes have been taken: the edges stay.
  void keep() {
    changed_.clear();
    copies_.clear();
  }

  const std::vector<Copy>& copies() const {
    return copies_;
  }

  double extra = 0; // seconds that the copies take, estimated
  double total = 0; // that all the others do

 private:
  struct Edge {
    Node* reader;
    uint32_t input;
    Output* original;
  };
  std::vector<Edge> changed_;
  std::vector<Copy> copies_; // in the order of the tape
};

} // namespace narrows
