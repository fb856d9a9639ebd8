#include "narrows/order/waves.h"

#include <algorithm>
#include <bit>

#include "narrows/order/max_tree.h"

namespace narrows {
namespace {

// A wave looks at nodes up to so many places behind the first one that has not run, and gives up
// after so many that do not fit.
constexpr uint32_t kWindow = 16384;
constexpr uint32_t kTries = 16;

// A set of the ranks of nodes that can run, walked from the lowest.
class ReadySet {
 public:
  explicit ReadySet(uint32_t count) : words_(count / 64 + 1, 0) {
  }
  void insert(uint32_t rank) {
    words_[rank / 64] |= uint64_t{1} << (rank % 64);
  }
  void erase(uint32_t rank) {
    words_[rank / 64] &= ~(uint64_t{1} << (rank % 64));
  }
  // The first at or after `rank`, or `end`.
  uint32_t next(uint32_t rank, uint32_t end) const {
    for (uint32_t word = rank / 64; word * 64 < end; ++word) {
      uint64_t bits = words_[word];
      if (word == rank / 64) {
        bits &= ~uint64_t{0} << (rank % 64);
      }
      if (bits != 0) {
        return std::min(end, word * 64 + static_cast<uint32_t>(std::countr_zero(bits)));
      }
    }
    return end;
  }

 private:
  std::vector<uint64_t> words_;
};

// Numbers of nodes below are ranks: their places in the base order.
class Waves {
 public:
  Waves(const OrderGraph& graph, const CountedOrder& base, const WaveLimits& limits, Order& order)
      : graph_(graph),
        base_(base),
        limits_(limits),
        order_(order),
        booked_(base.bytes),
        ready_(graph.node_count),
        done_(graph.node_count, 0),
        rank_of_(graph.node_count),
        readers_left_(graph.count_readers()),
        inputs_left_(graph.count_inputs()),
        last_reader_(graph.root_bytes.size(), 0),
        read_in_(graph.root_bytes.size(), 0),
        input_made_in_(graph.node_count, 0),
        height_(graph.node_count, 0),
        live_(graph.bytes_before) {
    for (uint32_t rank = 0; rank < graph.node_count; ++rank) {
      rank_of_[base.nodes[rank]] = rank;
      for (uint32_t root : graph.reads[base.nodes[rank]]) {
        last_reader_[root] = rank;
      }
    }
    for (uint32_t rank = graph.node_count; rank-- > 0;) {
      const uint32_t node = base.nodes[rank];
      for (uint32_t successor : graph.successors[node]) {
        height_[node] = std::max(height_[node], height_[successor]);
      }
      height_[node] += graph.nodes[node].is_view ? 0 : 1;
      if (inputs_left_[node] == 0) {
        ready_.insert(rank);
      }
    }
  }

  void run() {
    order_.clear();
    order_.reserve(graph_.node_count);
    while (order_.size() < graph_.node_count) {
      run_wave();
    }
  }

 private:
  void run_wave() {
    ++wave_;
    nodes_.clear();
    ready_next_.clear();
    freed_ = moved_ = 0;
    skip_done();
    const uint32_t end =
        static_cast<uint32_t>(std::min<uint64_t>(graph_.node_count, uint64_t{first_} + kWindow));
    uint32_t tries = 0;
    for (uint32_t rank = ready_.next(first_, end);
         rank < end && nodes_.size() < limits_.nodes && tries < kTries;
         rank = ready_.next(rank + 1, end)) {
      const uint32_t donor = graph_.donor(base_.nodes[rank], readers_left_);
      if (fits(rank, donor)) {
        take(rank, donor);
        skip_done();
      } else {
        ++tries;
      }
    }
    // Nodes with the longest way to an output come first, so that the next waves have more to
    // choose from.
    std::stable_sort(nodes_.begin(), nodes_.end(), [&](uint32_t a, uint32_t b) {
      return height_[a] > height_[b];
    });
    order_.insert(order_.end(), nodes_.begin(), nodes_.end());
    for (uint32_t rank : ready_next_) {
      ready_.insert(rank);
    }
    live_ -= freed_;
  }

  void skip_done() {
    while (first_ < graph_.node_count && done_[first_]) {
      ++first_;
    }
  }

  // Whether the wave may take a node. The first node of the base that has not run is always taken:
  // the base has room for it, and nodes that were pulled forward before were booked up to this
  // place.
  bool fits(uint32_t rank, uint32_t donor) const {
    if (donor != kNone && read_in_[donor] == wave_) {
      return false; // it would overwrite what the wave still reads
    }
    if (rank == first_ && nodes_.empty()) {
      return true;
    }
    const uint32_t node = base_.nodes[rank];
    const int64_t growth = growth_of(node, donor);
    const int64_t limit = moved_ < limits_.saturated ? limits_.budget : base_.peak;
    return live_ + growth + graph_.nodes[node].transient <= limit &&
           (rank == first_ || growth <= 0 || booked_.highest(first_, rank) + growth <= limit);
  }

  int64_t growth_of(uint32_t node, uint32_t donor) const {
    return graph_.nodes[node].allocated - (donor == kNone ? 0 : graph_.root_bytes[donor]);
  }

  void take(uint32_t rank, uint32_t donor) {
    const uint32_t node = base_.nodes[rank];
    const bool pulled = rank > first_;
    const int64_t growth = growth_of(node, donor);
    ready_.erase(rank);
    done_[rank] = 1;
    live_ += growth + graph_.nodes[node].transient;
    freed_ += graph_.nodes[node].transient + graph_.nodes[node].unread;
    if (graph_.nodes[node].is_view) {
      order_.push_back(node);
    } else {
      nodes_.push_back(node);
      moved_ += graph_.nodes[node].allocated;
    }
    if (pulled) {
      booked_.add(first_, rank, growth);
      booked_.add(rank, rank + 1, MaxTree::kLowest / 2);
    }
    for (uint32_t root : graph_.reads[node]) {
      read_in_[root] = wave_;
      moved_ += graph_.root_bytes[root];
      const bool dies = --readers_left_[root] == 0;
      if (dies && root != donor) {
        freed_ += graph_.root_bytes[root];
        if (pulled || last_reader_[root] > rank) {
          booked_.add(first_, last_reader_[root] + 1, -graph_.root_bytes[root]);
        }
      }
    }
    if (donor != kNone && last_reader_[donor] > rank) {
      booked_.add(rank, last_reader_[donor] + 1, -graph_.root_bytes[donor]);
    }
    make_ready(node);
  }

  // Nodes that wait for nodes of this wave become ready when it ends. Nodes that wait only for
  // views become ready at once if they stand later.
  void make_ready(uint32_t node) {
    const bool view = graph_.nodes[node].is_view;
    for (uint32_t successor : graph_.successors[node]) {
      if (!view) {
        input_made_in_[successor] = wave_;
      }
      if (--inputs_left_[successor] == 0) {
        if (input_made_in_[successor] < wave_) {
          ready_.insert(rank_of_[successor]);
        } else {
          ready_next_.push_back(rank_of_[successor]);
        }
      }
    }
  }

  const OrderGraph& graph_;
  const CountedOrder& base_;
  const WaveLimits& limits_;
  Order& order_;

  MaxTree booked_; // by rank: the bytes held when that node runs, if the rest follows the base
  ReadySet ready_;
  std::vector<uint8_t> done_;     // by rank
  std::vector<uint32_t> rank_of_; // by node
  std::vector<uint32_t> readers_left_;
  std::vector<uint32_t> inputs_left_;
  std::vector<uint32_t> last_reader_;   // by root: rank
  std::vector<uint32_t> read_in_;       // by root: the latest wave that reads it
  std::vector<uint32_t> input_made_in_; // by node: the latest wave that did work for it
  std::vector<uint32_t> height_;        // by node: the longest way to an output
  uint32_t first_ = 0;                  // the lowest rank that is not done
  uint32_t wave_ = 0;
  int64_t live_; // bytes

  // The wave at hand.
  std::vector<uint32_t> nodes_;
  std::vector<uint32_t> ready_next_; // ranks
  int64_t freed_ = 0;                // bytes that are free when it ends
  int64_t moved_ = 0;                // bytes that its nodes read and write
};

} // namespace

int concurrency_of(const Plan& plan) {
  int most = 1;
  for (const Stream& stream : plan.streams) {
    most = std::max(most, backend_for(stream.device).concurrency());
  }
  return most;
}

void order_in_waves(
    const OrderGraph& graph, const CountedOrder& base, const WaveLimits& limits, Order& order) {
  Waves(graph, base, limits, order).run();
}

} // namespace narrows
