// The part of cuDNN that convolutions need: its interface of graphs. The library is loaded at run
// time, and nothing here needs its headers. The numbers are those of version 9.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <mutex>
#include <span>
#include <stdexcept>
#include <utility>

namespace narrows::cuda::cudnn {

// What a descriptor describes.
enum class Kind : int {
  convolution = 1,
  engine = 2,
  engine_config = 3,
  heuristics = 4,
  execution_plan = 5,
  forward = 10,
  weight_gradient = 11,
  input_gradient = 12,
  operation_graph = 15,
  variant_pack = 16,
  tensor = 17
};

enum class Attribute : int {
  convolution_compute_type = 100,
  convolution_mode = 101,
  convolution_dilations = 102,
  convolution_strides = 103,
  convolution_post_paddings = 104,
  convolution_pre_paddings = 105,
  convolution_spatial_dims = 106,
  heuristics_mode = 200,
  heuristics_graph = 201,
  heuristics_results = 202,
  engine_config_engine = 300,
  execution_plan_handle = 400,
  execution_plan_engine_config = 401,
  execution_plan_workspace_size = 402,
  forward_alpha = 700,
  forward_beta = 701,
  forward_convolution = 702,
  forward_w = 703,
  forward_x = 704,
  forward_y = 705,
  input_gradient_alpha = 706,
  input_gradient_beta = 707,
  input_gradient_convolution = 708,
  input_gradient_w = 709,
  input_gradient_x = 710,
  input_gradient_y = 711,
  weight_gradient_alpha = 712,
  weight_gradient_beta = 713,
  weight_gradient_convolution = 714,
  weight_gradient_w = 715,
  weight_gradient_x = 716,
  weight_gradient_y = 717,
  graph_handle = 800,
  graph_operations = 801,
  tensor_alignment = 900,
  tensor_data_type = 901,
  tensor_dimensions = 902,
  tensor_strides = 903,
  tensor_unique_id = 906,
  variant_pack_unique_ids = 1000,
  variant_pack_pointers = 1001,
  variant_pack_workspace = 1003,
  engine_numerical_notes = 1303
};

// How the values of an attribute are given.
enum class Type : int {
  handle = 0,
  data_type = 1,
  int64 = 3,
  float32 = 4,
  pointer = 6,
  convolution_mode = 7,
  heuristics_mode = 8,
  numerical_note = 11,
  descriptor = 15
};

enum class DataType : int { float32 = 0, float16 = 2, bfloat16 = 9 };
enum class ConvolutionMode : int { cross_correlation = 1 };
enum class HeuristicsMode : int { fallback = 2, best = 3 };

// What engines say about their results.
enum class Note : int {
  tensor_core = 0, // of float32 numbers: rounded to TF32
  down_converts_inputs = 1,
  reduced_precision_reduction = 2,
  fft = 3,
  nondeterministic = 4,
  winograd = 5
};
inline constexpr size_t kMostNotes = 64;

using Status = int; // 0: no error

struct Library {
  void* handle = nullptr;        // made by `create`
  cudaStream_t stream = nullptr; // that it was given last
  std::mutex mutex;              // it serves one thread at a time
  Status (*create)(void** handle);
  Status (*set_stream)(void* handle, cudaStream_t stream);
  Status (*create_descriptor)(Kind kind, void** descriptor);
  Status (*destroy_descriptor)(void* descriptor);
  Status (*finalize)(void* descriptor);
  Status (*set_attribute)(void*, Attribute, Type, int64_t count, const void* values);
  Status (*get_attribute)(const void*, Attribute, Type, int64_t most, int64_t* count, void* values);
  Status (*execute)(void* handle, void* plan, void* variant_pack);
  const char* (*error_text)(Status status);
};

// nullptr if the library is not found, or of another version. NARROWS_CUDNN_LIBRARY names its file.
Library* library();

// What the library does not compute, or not so.
class Unsupported : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Raises Unsupported.
void check(Status status);

// A descriptor. Only where there is the library.
class Descriptor {
 public:
  explicit Descriptor(Kind kind) {
    check(library()->create_descriptor(kind, &raw_));
  }
  Descriptor(Descriptor&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {
  }
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~Descriptor() {
    if (raw_) {
      library()->destroy_descriptor(raw_);
    }
  }

  template <typename T>
  void set(Attribute attribute, Type type, const T& value) {
    set_all<T>(attribute, type, {&value, 1});
  }
  template <typename T>
  void set_all(Attribute attribute, Type type, std::span<const T> values) {
    const auto count = static_cast<int64_t>(values.size());
    check(library()->set_attribute(raw_, attribute, type, count, values.data()));
  }
  void finalize() {
    check(library()->finalize(raw_));
  }
  // Writes as many values as there are and fit. Returns how many there are.
  template <typename T>
  int64_t get_all(Attribute attribute, Type type, std::span<T> values) const {
    int64_t count = 0;
    const auto most = static_cast<int64_t>(values.size());
    check(library()->get_attribute(raw_, attribute, type, most, &count, values.data()));
    return count;
  }
  void* raw() const {
    return raw_;
  }

 private:
  void* raw_ = nullptr;
};

} // namespace narrows::cuda::cudnn
