#include "narrows/backend/cuda/convolution.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "metal_kernels/convolution.h"
#include "narrows/backend/cuda/cudnn.h"
#include "narrows/backend/cuda/device.h"
#include "narrows/backend/cuda/recent_cache.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/tf32.h"

namespace narrows::cuda {
namespace {

using cudnn::Attribute;
using cudnn::Descriptor;
using cudnn::Kind;
using cudnn::Note;
using cudnn::Type;

constexpr int64_t kMostWorkspace = int64_t{64} << 20;
constexpr int64_t kBestAlignment = 16;
// cuDNN counts in 32 bits.
constexpr int64_t kMostElements = std::numeric_limits<int32_t>::max(); // of an operand
constexpr size_t kMostPlans = 4096;

// Everything that the choice of an engine depends on.
struct Key {
  ConvolutionOp op;
  Dtype dtype;
  bool tf32; // whether tensor cores may round float32 numbers
  std::array<std::byte, sizeof(ConvolutionParams)> params;
  std::array<int64_t, 3> alignments; // of the operands
  int64_t most_workspace;

  auto operator<=>(const Key&) const = default;

  ConvolutionParams convolution() const {
    ConvolutionParams result;
    std::memcpy(&result, params.data(), sizeof(result));
    return result;
  }
};

// How cuDNN computes convolutions of one kind, if it does.
class ConvolutionPlan final : public LibraryPlan {
 public:
  std::optional<Descriptor> config;
  std::optional<Descriptor> execution;
  int64_t workspace = 0;

  const char* name() const override {
    return "convolution";
  }
  void run(const LibraryCall& call, cudaStream_t stream) const override {
    try {
      execute(call, stream);
    } catch (const cudnn::Unsupported& error) {
      fail<std::runtime_error>("[convolution] cuDNN failed: ", error.what(), ".");
    }
  }

 private:
  void execute(const LibraryCall& call, cudaStream_t stream) const {
    cudnn::Library& library = *cudnn::library();
    std::lock_guard lock(library.mutex);
    if (library.stream != stream) {
      cudnn::check(library.set_stream(library.handle, stream));
      library.stream = stream;
    }
    Descriptor operands(Kind::variant_pack);
    const std::array<const void*, 3> pointers = {call.a, call.b, call.c};
    const std::array<int64_t, 3> ids = {0, 1, 2};
    operands.set_all<const void*>(Attribute::variant_pack_pointers, Type::pointer, pointers);
    operands.set_all<int64_t>(Attribute::variant_pack_unique_ids, Type::int64, ids);
    operands.set(Attribute::variant_pack_workspace, Type::pointer, call.workspace);
    operands.finalize();
    cudnn::check(library.execute(library.handle, execution->raw(), operands.raw()));
  }
};

// Numbers of the dimensions that filters move along. cuDNN wants two of them at least.
class Places {
 public:
  explicit Places(const ConvolutionParams& p)
      : count_(static_cast<size_t>(std::max<int64_t>(2, p.ndim))) {
  }
  std::span<const int64_t> of(const int64_t (&numbers)[NARROWS_CONVOLUTION_PLACES]) const {
    return std::span(numbers).last(count_);
  }

 private:
  size_t count_;
};

// How many elements of zero stand behind the input, so that there are as many places as there are.
// As many as before it, if that is possible. None if elements would have to be cut off.
std::optional<int64_t> padding_behind(const ConvolutionParams& p, size_t d) {
  const int64_t reach = (p.w_size[d] - 1) * p.w_dilation[d] + 1;
  const int64_t least = (p.y_size[d] - 1) * p.stride[d] + reach - p.x_size[d] - p.padding[d];
  const int64_t most = least + p.stride[d] - 1;
  if (most < 0) {
    return std::nullopt;
  }
  return std::clamp(p.padding[d], std::max<int64_t>(0, least), most);
}

int64_t product_of(std::span<const int64_t> numbers) {
  int64_t result = 1;
  for (const int64_t n : numbers) {
    result *= n;
  }
  return result;
}

// Whether the library is asked at all.
bool is_candidate(const Key& key, const ConvolutionParams& p) {
  if (key.dtype == Dtype::float64) {
    return false;
  }
  for (size_t d = 0; d < NARROWS_CONVOLUTION_PLACES; ++d) {
    // Where filters may lie, counted from the first element.
    const int64_t most = p.y_size[d] * p.stride[d] + p.w_size[d] * p.w_dilation[d] + p.padding[d];
    if (p.x_dilation[d] != 1 || p.padding[d] < 0 || !padding_behind(p, d) || most > kMostElements) {
      return false;
    }
  }
  const int64_t x = p.batch * p.x_channels * product_of(p.x_size);
  const int64_t y = p.batch * p.y_channels * product_of(p.y_size);
  const int64_t w = p.y_channels * (p.x_channels / p.groups) * product_of(p.w_size);
  return std::max({x, y, w}) <= kMostElements;
}

cudnn::DataType data_type(Dtype dtype) {
  return dtype == Dtype::float16    ? cudnn::DataType::float16
         : dtype == Dtype::bfloat16 ? cudnn::DataType::bfloat16
                                    : cudnn::DataType::float32;
}

// A row-contiguous array (first, sizes..., channels), for which cuDNN has the channels second.
Descriptor tensor(
    const Key& key, size_t id, int64_t first, std::span<const int64_t> sizes, int64_t channels) {
  std::vector<int64_t> dimensions = {first, channels};
  std::vector<int64_t> strides = {product_of(sizes) * channels, 1};
  for (size_t d = 0; d < sizes.size(); ++d) {
    dimensions.push_back(sizes[d]);
    strides.push_back(product_of(sizes.subspan(d + 1)) * channels);
  }
  Descriptor result(Kind::tensor);
  result.set(Attribute::tensor_data_type, Type::data_type, data_type(key.dtype));
  result.set_all<int64_t>(Attribute::tensor_dimensions, Type::int64, dimensions);
  result.set_all<int64_t>(Attribute::tensor_strides, Type::int64, strides);
  result.set(Attribute::tensor_unique_id, Type::int64, static_cast<int64_t>(id));
  result.set(Attribute::tensor_alignment, Type::int64, key.alignments[id]);
  result.finalize();
  return result;
}

Descriptor convolution_descriptor(const ConvolutionParams& p) {
  int64_t padding[NARROWS_CONVOLUTION_PLACES];
  for (size_t d = 0; d < NARROWS_CONVOLUTION_PLACES; ++d) {
    padding[d] = *padding_behind(p, d);
  }
  const Places places(p);
  Descriptor result(Kind::convolution);
  const auto set = [&](Attribute attribute, const int64_t(&numbers)[NARROWS_CONVOLUTION_PLACES]) {
    result.set_all(attribute, Type::int64, places.of(numbers));
  };
  result.set(Attribute::convolution_compute_type, Type::data_type, cudnn::DataType::float32);
  result.set(
      Attribute::convolution_mode,
      Type::convolution_mode,
      cudnn::ConvolutionMode::cross_correlation);
  result.set(
      Attribute::convolution_spatial_dims,
      Type::int64,
      static_cast<int64_t>(places.of(p.stride).size()));
  set(Attribute::convolution_strides, p.stride);
  set(Attribute::convolution_dilations, p.w_dilation);
  set(Attribute::convolution_pre_paddings, p.padding);
  set(Attribute::convolution_post_paddings, padding);
  result.finalize();
  return result;
}

// What the library calls the parts of an operation, and the operand that x, w and y are.
struct OperationNames {
  Kind kind;
  Attribute alpha, beta, convolution, x, w, y;
  size_t x_operand, w_operand, y_operand;
};

const OperationNames& names_of(ConvolutionOp op) {
  using A = Attribute;
  static constexpr OperationNames kForward = {
      Kind::forward,
      A::forward_alpha,
      A::forward_beta,
      A::forward_convolution,
      A::forward_x,
      A::forward_w,
      A::forward_y,
      0,
      1,
      2};
  static constexpr OperationNames kInputGradient = {
      Kind::input_gradient,
      A::input_gradient_alpha,
      A::input_gradient_beta,
      A::input_gradient_convolution,
      A::input_gradient_x,
      A::input_gradient_w,
      A::input_gradient_y,
      2,
      1,
      0};
  static constexpr OperationNames kWeightGradient = {
      Kind::weight_gradient,
      A::weight_gradient_alpha,
      A::weight_gradient_beta,
      A::weight_gradient_convolution,
      A::weight_gradient_x,
      A::weight_gradient_w,
      A::weight_gradient_y,
      0,
      2,
      1};
  switch (op) {
    case ConvolutionOp::forward:
      return kForward;
    case ConvolutionOp::input_gradient:
      return kInputGradient;
    default:
      return kWeightGradient;
  }
}

// A graph of the one operation, with its parts.
struct OperationGraph {
  Descriptor x, w, y, convolution, operation, graph;

  OperationGraph(const Key& key, const ConvolutionParams& p)
      : OperationGraph(key, p, names_of(key.op), Places(p)) {
  }

 private:
  OperationGraph(
      const Key& key, const ConvolutionParams& p, const OperationNames& names, const Places& places)
      : x(tensor(key, names.x_operand, p.batch, places.of(p.x_size), p.x_channels)),
        w(tensor(key, names.w_operand, p.y_channels, places.of(p.w_size), p.x_channels / p.groups)),
        y(tensor(key, names.y_operand, p.batch, places.of(p.y_size), p.y_channels)),
        convolution(convolution_descriptor(p)),
        operation(names.kind),
        graph(Kind::operation_graph) {
    operation.set(names.convolution, Type::descriptor, convolution.raw());
    operation.set(names.x, Type::descriptor, x.raw());
    operation.set(names.w, Type::descriptor, w.raw());
    operation.set(names.y, Type::descriptor, y.raw());
    operation.set(names.alpha, Type::float32, 1.0F);
    operation.set(names.beta, Type::float32, 0.0F);
    operation.finalize();
    graph.set(Attribute::graph_handle, Type::handle, cudnn::library()->handle);
    graph.set(Attribute::graph_operations, Type::descriptor, operation.raw());
    graph.finalize();
  }
};

// Ways to compute the graph, the fastest first as far as the library knows.
std::vector<Descriptor> engine_configs(const Descriptor& graph, cudnn::HeuristicsMode mode) {
  Descriptor heuristics(Kind::heuristics);
  heuristics.set(Attribute::heuristics_graph, Type::descriptor, graph.raw());
  heuristics.set(Attribute::heuristics_mode, Type::heuristics_mode, mode);
  heuristics.finalize();
  const int64_t count =
      heuristics.get_all<void*>(Attribute::heuristics_results, Type::descriptor, {});
  std::vector<Descriptor> result;
  std::vector<void*> raw;
  for (int64_t i = 0; i < count; ++i) {
    raw.push_back(result.emplace_back(Kind::engine_config).raw());
  }
  const int64_t found =
      heuristics.get_all<void*>(Attribute::heuristics_results, Type::descriptor, raw);
  result.erase(result.begin() + std::min(count, found), result.end());
  return result;
}

// Results have the same bits in every run, sums are of float32, and numbers are rounded only as the
// key allows. Transforms (FFT, Winograd) would add errors of their own.
bool is_wanted(const Key& key, Note note) {
  switch (note) {
    case Note::tensor_core:
      return key.dtype != Dtype::float32 || key.tf32;
    case Note::down_converts_inputs:
    case Note::reduced_precision_reduction:
    case Note::fft:
    case Note::nondeterministic:
    case Note::winograd:
      return false;
    default:
      return true;
  }
}

bool is_wanted(const Key& key, const Descriptor& config) {
  const Descriptor engine(Kind::engine);
  std::array<void*, 1> raw = {engine.raw()};
  config.get_all<void*>(Attribute::engine_config_engine, Type::descriptor, raw);
  std::array<Note, cudnn::kMostNotes> notes;
  const int64_t count =
      engine.get_all<Note>(Attribute::engine_numerical_notes, Type::numerical_note, notes);
  return std::all_of(
      notes.begin(), notes.begin() + count, [&](Note note) { return is_wanted(key, note); });
}

// Sets the plan to compute as the config says. Unsupported where that does not work.
void try_config(const Key& key, Descriptor& config, ConvolutionPlan& plan) {
  Descriptor execution(Kind::execution_plan);
  execution.set(Attribute::execution_plan_handle, Type::handle, cudnn::library()->handle);
  execution.set(Attribute::execution_plan_engine_config, Type::descriptor, config.raw());
  execution.finalize();
  std::array<int64_t, 1> workspace{};
  execution.get_all<int64_t>(Attribute::execution_plan_workspace_size, Type::int64, workspace);
  if (workspace[0] > key.most_workspace) {
    throw cudnn::Unsupported("more workspace than there is");
  }
  plan.config = std::move(config);
  plan.execution = std::move(execution);
  plan.workspace = workspace[0];
}

// The first config that works.
void choose_engine(
    const Key& key, const Descriptor& graph, cudnn::HeuristicsMode mode, ConvolutionPlan& plan) {
  try {
    for (Descriptor& config : engine_configs(graph, mode)) {
      try {
        if (is_wanted(key, config)) {
          try_config(key, config, plan);
          return;
        }
      } catch (const cudnn::Unsupported&) {
        continue;
      }
    }
  } catch (const cudnn::Unsupported&) {
    return; // the library has no answer
  }
}

std::shared_ptr<const ConvolutionPlan> make_plan(const Key& key) {
  auto plan = std::make_shared<ConvolutionPlan>();
  const ConvolutionParams p = key.convolution();
  if (!is_candidate(key, p)) {
    return plan;
  }
  std::lock_guard lock(cudnn::library()->mutex);
  try {
    const OperationGraph operation(key, p);
    choose_engine(key, operation.graph, cudnn::HeuristicsMode::best, *plan);
    if (!plan->execution) {
      choose_engine(key, operation.graph, cudnn::HeuristicsMode::fallback, *plan);
    }
  } catch (const cudnn::Unsupported&) {
    return plan; // there is no such graph
  }
  return plan;
}

// nullptr if the library is missing or cannot compute the convolution.
std::shared_ptr<const ConvolutionPlan> plan_of(const Key& key) {
  static auto* plans = new RecentCache<Key, ConvolutionPlan>(kMostPlans); // never destroyed
  check_process();
  if (!cudnn::library()) {
    return nullptr;
  }
  std::shared_ptr<const ConvolutionPlan> plan = plans->get(key, make_plan);
  return plan->execution ? plan : nullptr;
}

Key key_of(const KernelId& kernel, std::span<const std::byte> params) {
  Key key{
      static_cast<ConvolutionOp>(kernel.op),
      kernel.out,
      kernel.out == Dtype::float32 && tf32_enabled(),
      {},
      {kBestAlignment, kBestAlignment, kBestAlignment},
      kMostWorkspace};
  std::copy(params.begin(), params.end(), key.params.begin());
  return key;
}

// The largest power of two, up to 16, that divides an address.
int64_t alignment_of(std::uintptr_t address) {
  int64_t alignment = kBestAlignment;
  while (address % static_cast<std::uintptr_t>(alignment) != 0) {
    alignment /= 2;
  }
  return alignment;
}

} // namespace

// As if all operands were aligned to 16 bytes. Where they are not, the kernels may have to run.
int64_t convolution_scratch(const KernelId& kernel, std::span<const std::byte> params) {
  const std::shared_ptr<const ConvolutionPlan> plan = plan_of(key_of(kernel, params));
  const int64_t of_kernels = gpu::scratch_of(kernel.family)(kernel, params);
  return std::max(of_kernels, plan ? plan->workspace : 0);
}

std::optional<HeldLibraryCall> convolution_of(
    const KernelCall& call, const std::array<std::uintptr_t, 3>& addresses) {
  Key key = key_of(call.kernel, call.params);
  std::transform(addresses.begin(), addresses.end(), key.alignments.begin(), alignment_of);
  const Operand& scratch = call.scratch;
  const int64_t bytes = scratch.buffer ? scratch.buffer->bytes - scratch.offset : 0;
  std::shared_ptr<const ConvolutionPlan> plan = plan_of(key);
  if (plan && plan->workspace > bytes) {
    key.most_workspace = bytes;
    plan = plan_of(key);
  }
  if (!plan) {
    return std::nullopt;
  }
  const LibraryCall convolution{
      plan.get(),
      plan->number(),
      reinterpret_cast<const void*>(addresses[0]),
      reinterpret_cast<const void*>(addresses[1]),
      reinterpret_cast<void*>(addresses[2]),
      plan->workspace > 0 ? static_cast<std::byte*>(scratch.buffer->memory) + scratch.offset
                          : nullptr,
      plan->workspace,
      1,
      0};
  return HeldLibraryCall{convolution, std::move(plan)};
}

} // namespace narrows::cuda
