#include "narrows/order/order_graph.h"

#include <algorithm>
#include <utility>

#include "narrows/record/primitive.h"
#include "narrows/record/runs_once.h"

namespace narrows {
namespace {

std::vector<uint32_t> row_lengths(const Rows& rows) {
  std::vector<uint32_t> lengths(rows.first.size() - 1);
  for (size_t i = 0; i < lengths.size(); ++i) {
    lengths[i] = rows.first[i + 1] - rows.first[i];
  }
  return lengths;
}

// Row j of the result has the rows of `rows` that contain j.
Rows transposed(const Rows& rows, size_t count) {
  Rows result;
  result.first.assign(count + 1, 0);
  for (uint32_t item : rows.items) {
    ++result.first[item + 1];
  }
  for (size_t i = 0; i < count; ++i) {
    result.first[i + 1] += result.first[i];
  }
  result.items.resize(rows.items.size());
  std::vector<uint32_t> next(result.first.begin(), result.first.end() - 1);
  for (uint32_t row = 0; row + 1 < rows.first.size(); ++row) {
    for (uint32_t item : rows[row]) {
      result.items[next[item]++] = row;
    }
  }
  return result;
}

// Whether the output of a step has the same layout if the step overwrites no input.
bool keeps_layout(const Plan& plan, const Step& step) {
  const PlannedValue& output = plan.values[plan.outputs_of(step)[0]];
  const FusionRule::Kind kind = step.primitive->fusion().kind;
  const bool follows_inputs = kind == FusionRule::Kind::elementwise ||
                              kind == FusionRule::Kind::cast || kind == FusionRule::Kind::select;
  for (uint32_t id : plan.inputs_of(step)) {
    const PlannedValue& input = plan.values[id];
    if (!(input.layout.row_contiguous && output.layout.row_contiguous) &&
        input.shape() == output.shape() &&
        !(follows_inputs && input.layout.dense && input.layout.strides == output.layout.strides)) {
      return false;
    }
  }
  return true;
}

class Builder {
 public:
  Builder(const Plan& plan, bool repeats)
      : plan_(plan),
        repeats_(repeats),
        root_of_(plan.values.size()),
        node_of_(plan.values.size(), kNone) {
  }

  OrderGraph run(std::span<const array> outputs) {
    graph_.bytes_before = plan_.bytes_before();
    graph_.is_exact = plan_.streams.size() == 1 && plan_.subplans.empty();
    add_inputs();
    reserve(plan_.steps.size());
    for (const Step& step : plan_.steps) {
      prefetch_after(step);
      if (step.node) {
        add_node(step);
      } else {
        add_copy(step);
      }
    }
    add_outputs(outputs);
    finish();
    return std::move(graph_);
  }

 private:
  static constexpr int kSeveralStreams = -2;

  void reserve(size_t nodes) {
    for (Rows* rows : {&graph_.inputs, &graph_.reads}) {
      rows->first.reserve(nodes + 1);
      rows->items.reserve(2 * nodes);
    }
    graph_.nodes.reserve(nodes);
    graph_.can_repeat.reserve(repeats_ ? nodes : 0);
    graph_.can_donate.reserve(2 * nodes);
    value_read_.reserve(2 * nodes);
    graph_.root_bytes.reserve(plan_.buffers.size() + nodes);
    seen_at_.reserve(plan_.buffers.size() + nodes);
  }

  // Shapes are stored in the nodes' blocks.
  [[gnu::always_inline]] void prefetch_after(const Step& step) const {
    const size_t left = static_cast<size_t>(plan_.steps.data() + plan_.steps.size() - &step);
    if (plan_.steps.size() < kPrefetchFrom || left <= kPrefetchNodes) {
      return;
    }
    if (const Node* node = (&step)[kPrefetchNodes].node) {
      prefetch_node(node);
    }
    if (Node* node = (&step)[kPrefetchInputs].node) {
      prefetch_inputs(node);
    }
  }

  uint32_t new_root(int64_t bytes, uint32_t maker = kNone) {
    graph_.root_bytes.push_back(bytes);
    graph_.makers.push_back(maker);
    seen_at_.push_back(0);
    stream_.push_back(-1);
    return static_cast<uint32_t>(graph_.root_bytes.size() - 1);
  }

  // The first buffers of a plan are those of its inputs.
  void add_inputs() {
    for (uint32_t id = 0; id < plan_.input_count; ++id) {
      root_of_[id] = plan_.values[id].buffer;
      while (graph_.root_bytes.size() <= root_of_[id]) {
        new_root(plan_.main_bytes(static_cast<uint32_t>(graph_.root_bytes.size())));
      }
    }
  }

  // A packed copy is scratch of the node behind it, unless that node makes the copy its output. A
  // transferred copy lives until its last reader has run; its first reader allocates it.
  void add_copy(const Step& step) {
    const uint32_t original = plan_.inputs_of(step)[0];
    const uint32_t copy = plan_.outputs_of(step)[0];
    const uint32_t buffer = plan_.values[copy].buffer;
    node_of_[copy] = node_of_[original];
    graph_.is_exact = false;
    if (step.memory == plan_.buffers[plan_.values[original].buffer].memory) {
      root_of_[copy] = root_of_[original];
      copies_.push_back(buffer);
    } else {
      root_of_[copy] = new_root(step.moves ? 0 : plan_.main_bytes(buffer), graph_.node_count);
      reads_transferred_ = true;
      transferred_ += plan_.main_bytes(buffer);
    }
  }

  void add_node(const Step& step) {
    const uint32_t node = graph_.node_count++;
    for (uint32_t id : plan_.inputs_of(step)) {
      if (node_of_[id] != kNone) {
        graph_.inputs.items.push_back(node_of_[id]);
      }
      read(id, step);
    }
    graph_.inputs.end_row();
    int64_t allocated = std::exchange(transferred_, 0);
    if (repeats_) {
      graph_.can_repeat.push_back(
          step.encodes && !std::exchange(reads_transferred_, false) && !runs_once(*step.primitive));
    }
    for (uint32_t id : plan_.outputs_of(step)) {
      const PlannedValue& value = plan_.values[id];
      node_of_[id] = node;
      const bool new_buffer = value.donated || is_copy(value.buffer);
      const uint32_t shown = new_buffer ? kNone : root_shown(step, value.buffer);
      root_of_[id] = shown;
      if (shown == kNone) {
        const int64_t bytes = plan_.main_bytes(value.buffer);
        root_of_[id] = new_root(bytes, node);
        allocated += bytes;
      } else if (repeats_ && step.encodes) { // it does more than to show
        graph_.can_repeat[node] = 0;
        only_once_.push_back(shown);
      }
      use(root_of_[id], step);
      if (value.held) {
        graph_.root_bytes[root_of_[id]] = 0;
      }
    }
    graph_.is_exact = graph_.is_exact && (!step.donates || keeps_layout(plan_, step));
    for (uint32_t i = graph_.reads.first.back(); step.donates && i < value_read_.size(); ++i) {
      const bool may =
          step.overwrites < 0 || plan_.inputs_of(step)[step.overwrites] == value_read_[i];
      graph_.can_donate[i] &= may && fits(value_read_[i], plan_.outputs_of(step)[0]);
    }
    int64_t transient = step.memory == plan_.main ? std::max<int64_t>(0, step.workspace) : 0;
    for (uint32_t copy : copies_) {
      transient += is_output(step, copy) ? 0 : plan_.main_bytes(copy);
    }
    copies_.clear();
    graph_.reads.end_row();
    if (repeats_ && !step.encodes &&
        (graph_.reads[node].size() != 1 || graph_.inputs[node].size() > 1)) {
      only_once_.insert(only_once_.end(), graph_.reads[node].begin(), graph_.reads[node].end());
    }
    graph_.nodes.push_back({allocated, transient, 0, !step.encodes});
  }

  void read(uint32_t id, const Step& step) {
    const uint32_t root = root_of_[id];
    const uint32_t at = seen_at_[root];
    if (at >= graph_.reads.first.back() && at < graph_.reads.items.size() &&
        graph_.reads.items[at] == root) {
      graph_.can_donate[at] &= value_read_[at] == id; // not if it is read through two layouts
      return;
    }
    seen_at_[root] = static_cast<uint32_t>(graph_.reads.items.size());
    graph_.reads.items.push_back(root);
    graph_.can_donate.push_back(step.donates);
    value_read_.push_back(id);
    use(root, step);
  }

  void use(uint32_t root, const Step& step) {
    if (plan_.streams.size() > 1) {
      const auto at = std::find(plan_.streams.begin(), plan_.streams.end(), step.stream);
      const int stream = static_cast<int>(at - plan_.streams.begin());
      stream_[root] = stream_[root] == -1 || stream_[root] == stream ? stream : kSeveralStreams;
    }
  }

  // The root of the input that an output in this buffer is a view of; kNone if it is a view of
  // none.
  uint32_t root_shown(const Step& step, uint32_t buffer) const {
    for (uint32_t id : plan_.inputs_of(step)) {
      if (plan_.values[id].buffer == buffer) {
        return root_of_[id];
      }
    }
    return kNone;
  }

  bool is_copy(uint32_t buffer) const {
    return std::find(copies_.begin(), copies_.end(), buffer) != copies_.end();
  }

  bool is_output(const Step& step, uint32_t buffer) const {
    const auto outputs = plan_.outputs_of(step);
    return std::any_of(outputs.begin(), outputs.end(), [&](uint32_t id) {
      return plan_.values[id].buffer == buffer;
    });
  }

  bool fits(uint32_t from, uint32_t to) const {
    return graph_.root_bytes[root_of_[from]] == plan_.main_bytes(plan_.values[to].buffer) &&
           can_overwrite(plan_.values[from], plan_.values[to]);
  }

  void add_outputs(std::span<const array> outputs) {
    for (const array& output : outputs) {
      Node* node = output.node();
      if (node->status() == Status::lazy) {
        graph_.outputs.push_back(node_of_[node->output(0).value]);
      }
    }
  }

  void finish() {
    for (uint32_t root = 0; root < graph_.root_bytes.size(); ++root) {
      if (stream_[root] == kSeveralStreams) {
        graph_.root_bytes[root] = 0;
      }
    }
    for (uint32_t i = 0; i < graph_.can_donate.size(); ++i) {
      graph_.can_donate[i] &= graph_.root_bytes[graph_.reads.items[i]] > 0;
    }
    graph_.successors = transposed(graph_.inputs, graph_.node_count);
    graph_.readers = transposed(graph_.reads, graph_.root_bytes.size());
    find_unread();
    if (repeats_) {
      find_once();
    }
  }

  // Once it is known who holds what.
  void find_once() {
    for (uint32_t root = 0; root < graph_.root_bytes.size(); ++root) {
      if (graph_.root_bytes[root] == 0) {
        only_once_.push_back(root);
      }
    }
    for (uint32_t root : only_once_) {
      if (graph_.makers[root] != kNone) {
        graph_.can_repeat[graph_.makers[root]] = 0;
      }
    }
  }

  void find_unread() {
    for (uint32_t id = static_cast<uint32_t>(plan_.input_count); id < root_of_.size(); ++id) {
      const uint32_t root = root_of_[id];
      if (graph_.readers.empty(root)) {
        graph_.nodes[node_of_[id]].unread += graph_.root_bytes[root];
      }
    }
  }

  const Plan& plan_;
  const bool repeats_;
  OrderGraph graph_;
  std::vector<uint32_t> root_of_;    // by value
  std::vector<uint32_t> node_of_;    // by value: its producer
  std::vector<uint32_t> seen_at_;    // by root: where it stands last in `reads`
  std::vector<uint32_t> value_read_; // by item of `reads`
  std::vector<int> stream_;          // by root: index, -1 or kSeveralStreams
  std::vector<uint32_t> copies_;     // copies for the node behind them
  std::vector<uint32_t> only_once_;  // roots whose makers run once
  int64_t transferred_ = 0;        // bytes of transferred copies that the node is the first to read
  bool reads_transferred_ = false; // whether the node is the first to read one
};

} // namespace

std::vector<uint32_t> OrderGraph::count_readers() const {
  return row_lengths(readers);
}

std::vector<uint32_t> OrderGraph::count_inputs() const {
  return row_lengths(inputs);
}

OrderGraph make_order_graph(const Plan& plan, std::span<const array> outputs, bool repeats) {
  return Builder(plan, repeats).run(outputs);
}

} // namespace narrows
