#include "narrows/backend/cuda/queue.h"

#include <cuda.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "narrows/backend/cuda/copies.h"
#include "narrows/backend/cuda/device.h"
#include "narrows/core/errors.h"

namespace narrows::cuda {
namespace {

using metal_emu::KernelInfo;

// The most pieces of a batch. Nothing of a batch runs before it is submitted.
constexpr size_t kMostPieces = 64;
// Smaller batches are launched piece by piece: a graph costs more.
constexpr size_t kFewestPieces = 4;
constexpr size_t kMostShapes = 256;
// The most lanes of all graphs. A lane takes 60 to 130 KB of the device's memory (measured on an
// H100).
constexpr size_t kMostLanes = 2048;
// After so many batches, graphs that ran in none of them are dropped.
constexpr uint64_t kPatience = 2048;
constexpr size_t kMostSeen = 4096; // of one shape
constexpr size_t kKernelsShown = 4;

size_t most_pieces() {
  const char* blocking = std::getenv("CUDA_LAUNCH_BLOCKING");
  if (blocking && std::string_view(blocking) == "1") {
    return 1;
  }
  const char* text = std::getenv("NARROWS_CUDA_BATCH");
  return text ? static_cast<size_t>(std::max(1, std::atoi(text))) : kMostPieces;
}

// A number in the host's memory. It takes the numbers of batches when they end.
class Progress {
 public:
  Progress() {
    void* memory = nullptr;
    void* on_device = nullptr;
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found;
    check(cudaHostAlloc(&memory, sizeof(uint32_t), cudaHostAllocMapped), "staging memory");
    check(cudaHostGetDevicePointer(&on_device, memory, 0), "staging memory");
    check(
        cudaGetDriverEntryPointByVersion(
            "cuStreamWriteValue32", &function, 12000, cudaEnableDefault, &found),
        "driver");
    value_ = static_cast<volatile uint32_t*>(memory);
    *value_ = 0;
    on_device_ = reinterpret_cast<CUdeviceptr>(on_device);
    write_ = reinterpret_cast<decltype(write_)>(function);
  }
  // Sets `number` when all that is on the stream has run.
  void mark(uint32_t number) {
    write_(stream(), on_device_, number, CU_STREAM_WRITE_VALUE_DEFAULT);
  }
  bool reached(uint32_t number) const {
    return static_cast<int32_t>(*value_ - number) >= 0;
  }

 private:
  volatile uint32_t* value_;
  CUdeviceptr on_device_;
  CUresult (*write_)(CUstream, CUdeviceptr, uint32_t, unsigned);
};

// A graph that can be launched, and the batch that it runs.
class Executable {
 public:
  Executable() = default;
  Executable(const Executable&) = delete;
  ~Executable() {
    destroy();
  }
  // Runs the batch as a graph, or piece by piece if there is no memory for a graph.
  void run(const Batch& batch) {
    is_idle_ = false;
    if (!runs(batch) && !become(batch)) {
      batch.run(stream());
      return;
    }
    check(cudaGraphLaunch(graph_, stream()), "graph");
  }
  bool runs(const Batch& batch) const {
    return content_ == batch.content();
  }
  // Whether it has not run since the last call.
  bool is_idle() {
    return std::exchange(is_idle_, true);
  }

 private:
  bool become(const Batch& batch) {
    const Graph graph = batch.graph();
    cudaGraphExecUpdateResultInfo result;
    content_.clear();
    const bool may_change = graph_ && !batch.has_library_calls();
    if (!may_change || cudaGraphExecUpdate(graph_, graph.get(), &result) != cudaSuccess) {
      cudaGetLastError();
      destroy();
      if (cudaGraphInstantiate(&graph_, graph.get(), 0) != cudaSuccess) {
        cudaGetLastError();
        graph_ = nullptr;
        return false;
      }
    }
    content_ = batch.content();
    held_plans_ = batch.held_plans();
    return true;
  }
  void destroy() {
    if (graph_) {
      cudaStreamSynchronize(stream()); // it may be running
      cudaGraphExecDestroy(std::exchange(graph_, nullptr));
    }
  }

  cudaGraphExec_t graph_ = nullptr;
  Batch::Content content_;
  Batch::HeldPlans held_plans_; // the graph runs kernels that they have loaded
  bool is_idle_ = true;
};

// Batches of one shape. Making a graph costs more than launching its pieces, changing a graph costs
// less, and launching an unchanged graph costs next to nothing. So a batch that comes again gets
// its own graph, and one graph is changed for all others. But graphs with calls of libraries are
// not changed: some kernels of cuBLASLt then compute what they did before (seen with its
// version 13.0).
class BatchesOfOneShape {
 public:
  // Makes a graph only if `may_make` says so.
  void run(const Batch& batch, bool may_make) {
    const bool is_first = seen_.empty();
    if (seen_.size() >= kMostSeen) {
      seen_.clear();
    }
    const uint64_t hash = hash_of(batch.content());
    const uint64_t key = seen_.insert(hash).second ? kChanging : hash;
    width_ = batch.width();
    auto graph = find(key, batch);
    const bool is_kept = key != kChanging || !batch.has_library_calls();
    if (graph == graphs_.end() && may_make && !is_first && is_kept) {
      graph = graphs_.try_emplace(key).first;
    }
    if (graph == graphs_.end()) {
      batch.run(stream());
    } else {
      graph->second.run(batch);
    }
  }
  size_t lanes() const {
    return width_ * graphs_.size();
  }
  // Drops graphs that have not run since the last call.
  void forget_idle() {
    for (auto graph = graphs_.begin(); graph != graphs_.end();) {
      graph = graph->second.is_idle() ? graphs_.erase(graph) : std::next(graph);
    }
  }

 private:
  using Graphs = std::unordered_map<uint64_t, Executable>;

  // If the graph that is changed runs this batch already, it becomes the batch's own.
  Graphs::iterator find(uint64_t key, const Batch& batch) {
    const auto found = graphs_.find(key);
    const auto changing = graphs_.find(kChanging);
    if (found != graphs_.end() || changing == graphs_.end() || !changing->second.runs(batch)) {
      return found;
    }
    auto graph = graphs_.extract(changing);
    graph.key() = key;
    return graphs_.insert(std::move(graph)).position;
  }

  static uint64_t hash_of(const Batch::Content& content) {
    uint64_t hash = 0xcbf29ce484222325; // FNV-1a, over words
    for (const uint64_t word : content) {
      hash = (hash ^ word) * 0x100000001b3;
    }
    return hash;
  }

  static constexpr uint64_t kChanging = 0;

  size_t width_ = 0;
  std::unordered_set<uint64_t> seen_; // hashes of contents
  Graphs graphs_;                     // by the hash of what they run, or kChanging
};

class Queue {
 public:
  // `is_written` tells of the number of an operand whether the piece writes to it.
  template <typename IsWritten, typename... Piece>
  void add(std::span<const Place> operands, IsWritten&& is_written, const Piece&... piece) {
    std::lock_guard lock(mutex_);
    for (size_t i = 0; i < operands.size() && copies_.has_copies(); ++i) {
      if (copies_.concerns(operands[i].block, is_written(i))) {
        submit_batch();
        copies_.wait_for(operands[i].block);
      }
    }
    batch_.add(piece...);
    if (batch_.size() >= most_pieces_) {
      submit_batch();
    }
  }
  // Returns the number of batches that were submitted so far. What is put on the stream from now on
  // comes behind all copies, unless they go on beside it.
  uint64_t submit(bool copies_go_on) {
    std::lock_guard lock(mutex_);
    submit_batch();
    if (!copies_go_on) {
      copies_.wait_for_all();
    }
    return submitted_;
  }
  void copy(const void* block, void* to, const void* from, int64_t bytes, bool to_host) {
    std::lock_guard lock(mutex_);
    submit_batch();
    copies_.start(block, to, from, bytes, to_host);
  }
  // Notes that so many batches have run.
  void note_finished(uint64_t batches) {
    std::lock_guard lock(mutex_);
    if (batches == submitted_) {
      in_flight_.clear();
    }
  }

  // The kernels of the batches in flight that did not end. Batches run one after the other.
  std::string unfinished() {
    std::lock_guard lock(mutex_);
    forget_finished();
    if (in_flight_.empty()) {
      return "work of the device";
    }
    const std::vector<const char*>& kernels = in_flight_.front().kernels;
    const size_t shown = std::min(kKernelsShown, kernels.size());
    std::string text = "work of the kernels ";
    for (size_t i = 0; i < shown; ++i) {
      text += std::string(i ? ", " : "") + kernels[i];
    }
    const size_t more = kernels.size() - shown;
    return more ? concat_message(text, " and ", more, " more") : text;
  }

 private:
  // Batches up to a mark on the stream. Small batches have no marks of their own: a mark would
  // delay the next work until all of them were seen to have ended.
  struct InFlight {
    uint32_t number;
    std::vector<const char*> kernels; // their names
  };

  void submit_batch() {
    if (batch_.size() == 0) {
      return;
    }
    struct Clear {
      Batch& batch;
      ~Clear() {
        batch.clear();
      }
    } at_last{batch_};
    if (in_flight_.empty() || in_flight_.back().kernels.size() >= kMostPieces) {
      forget_finished();
      in_flight_.push_back({++last_number_, {}});
    }
    std::vector<const char*>& kernels = in_flight_.back().kernels;
    batch_.add_names(kernels);
    ++submitted_;
    run_batch();
    if (kernels.size() >= kMostPieces) {
      progress_.mark(last_number_);
    }
  }

  void run_batch() {
    if (batch_.size() < kFewestPieces) {
      batch_.run(stream());
      return;
    }
    if (is_full() && submitted_ - last_cleaned_ >= kPatience) {
      forget_idle();
    }
    const bool may_make = !is_full();
    const auto known =
        may_make ? known_.try_emplace(batch_.shape()).first : known_.find(batch_.shape());
    if (known == known_.end()) {
      batch_.run(stream());
      return;
    }
    const size_t before = known->second.lanes();
    known->second.run(batch_, may_make);
    lanes_ += known->second.lanes() - before;
  }

  bool is_full() const {
    return known_.size() >= kMostShapes || lanes_ >= kMostLanes;
  }

  void forget_idle() {
    last_cleaned_ = submitted_;
    lanes_ = 0;
    for (auto known = known_.begin(); known != known_.end();) {
      known->second.forget_idle();
      const size_t lanes = known->second.lanes();
      lanes_ += lanes;
      known = lanes > 0 ? std::next(known) : known_.erase(known);
    }
  }

  void forget_finished() {
    while (!in_flight_.empty() && progress_.reached(in_flight_.front().number)) {
      in_flight_.pop_front();
    }
  }

  std::mutex mutex_;
  const size_t most_pieces_ = most_pieces();
  Batch batch_;
  CopyStream copies_;
  std::map<Batch::Shape, BatchesOfOneShape> known_; // that have run
  size_t lanes_ = 0;                                // of their graphs
  Progress progress_;
  uint64_t submitted_ = 0;    // batches
  uint64_t last_cleaned_ = 0; // after so many of them
  uint32_t last_number_ = 0;
  std::deque<InFlight> in_flight_;
};

// Never destroyed: work may be encoded while static objects are destroyed. It must not be used in
// children after fork(), who may find its lock held.
Queue& queue() {
  check_process();
  static auto* instance = new Queue;
  return *instance;
}

// Why nothing on the stream is to be trusted; nullptr while all is well. It stays for good.
std::atomic<const std::string*> failure_of_others{nullptr};

void check_others() {
  if (const std::string* failure = failure_of_others) {
    throw std::runtime_error(*failure);
  }
}

[[noreturn]] void raise(cudaError_t status) {
  cudaGetLastError(); // it is reported once
  fail<std::runtime_error>(
      "[cuda] ",
      cudaGetErrorString(status),
      " in ",
      queue().unfinished(),
      ". With CUDA_LAUNCH_BLOCKING=1 errors are raised by the operation that made them.");
}

void wait(cudaError_t (*query)(void*), void* argument) {
  const cudaError_t status = poll(query, argument);
  if (status != cudaSuccess) {
    raise(status);
  }
  check_others();
}

// Which operands a kernel writes to.
auto writes_of(const KernelInfo& kernel) {
  return [&](size_t i) { return kernel.parameters[i].written; };
}

} // namespace

void launch(const gpu::Dispatch& dispatch, std::span<const Place> operands) {
  const KernelInfo* kernel = find_kernel(dispatch.kernel);
  if (!kernel) {
    fail<std::runtime_error>("[cuda] there is no kernel ", dispatch.kernel);
  }
  if (kernel->parameters.size() != operands.size() + 1) {
    fail<std::runtime_error>(
        "[cuda] ",
        dispatch.kernel,
        " has ",
        kernel->parameters.size(),
        " buffers, got ",
        operands.size() + 1);
  }
  queue().add(operands, writes_of(*kernel), *kernel, dispatch, operands);
}

void launch(
    const CompiledKernel& kernel, const gpu::Dispatch& dispatch, std::span<const Place> operands) {
  queue().add(operands, writes_of(kernel.info), kernel.info, dispatch, operands, kernel.function);
}

void launch(const HeldLibraryCall& call, std::span<const Place> operands) {
  queue().add(
      operands, [](size_t i) { return i >= LibraryCall::kFirstWritten; }, call, operands);
}

void copy(const Place& place, void* on_host, int64_t bytes, bool to_host) {
  auto* on_device = reinterpret_cast<void*>(place.address);
  queue().copy(
      place.block, to_host ? on_host : on_device, to_host ? on_device : on_host, bytes, to_host);
}

cudaStream_t submit(bool copies_go_on) {
  queue().submit(copies_go_on);
  return stream();
}

void finish() {
  const uint64_t batches = queue().submit(false);
  wait([](void*) { return cudaStreamQuery(stream()); }, nullptr);
  queue().note_finished(batches);
}

void wait_for(cudaEvent_t event) {
  wait([](void* argument) { return cudaEventQuery(static_cast<cudaEvent_t>(argument)); }, event);
}

void fail_from_now_on(const std::string& message) {
  const std::string* none = nullptr;
  auto first = std::make_unique<const std::string>(message);
  if (failure_of_others.compare_exchange_strong(none, first.get())) {
    first.release();
  }
}

std::exception_ptr error_so_far() {
  const cudaError_t status = cudaStreamQuery(stream());
  const bool is_well = status == cudaSuccess || status == cudaErrorNotReady;
  if (is_well && !failure_of_others) {
    return nullptr;
  }
  try {
    check_others();
    raise(status);
  } catch (...) {
    return std::current_exception();
  }
}

} // namespace narrows::cuda
