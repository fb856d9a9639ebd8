#include "narrows/backend/cuda/gemm.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "metal_kernels/matmul.h"
#include "narrows/backend/cuda/device.h"
#include "narrows/backend/cuda/nvidia_library.h"
#include "narrows/backend/cuda/recent_cache.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/tf32.h"

namespace narrows::cuda {
namespace {

constexpr int64_t kMostWorkspace = int64_t{32} << 20;
// Workspace is for products whose sums are split. Shorter sums gain nothing by that (measured on an
// H100 with products of 64 to 4096 rows and columns), and products without shared workspace can run
// side by side. But where no workspace is allowed at all, the library leaves out its fastest ways
// to multiply as TF32, even those that take none.
constexpr int64_t kLongestWhole = 512;
constexpr int kMostWays = 8;
constexpr int64_t kBestAlignment = 16;
constexpr size_t kMostPlans = 4096;

// The functions of cuBLASLt.
struct Library {
  cublasLtHandle_t context = nullptr;
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) find_algorithm;
  decltype(&cublasLtMatmulDescCreate) create_operation;
  decltype(&cublasLtMatmulDescSetAttribute) set_operation;
  decltype(&cublasLtMatrixLayoutCreate) create_layout;
  decltype(&cublasLtMatrixLayoutSetAttribute) set_layout;
  decltype(&cublasLtMatmulPreferenceCreate) create_preference;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference;
  decltype(&cublasLtMatmulPreferenceDestroy) destroy_preference;
  decltype(&cublasLtMatmulDescDestroy) destroy_operation;
  decltype(&cublasLtMatrixLayoutDestroy) destroy_layout;

  bool load() {
    const std::string name = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR);
    const SharedLibrary has = find_nvidia_library("NARROWS_CUBLASLT_LIBRARY", name, "cu13");
    return has.find(create, "cublasLtCreate") && has.find(matmul, "cublasLtMatmul") &&
           has.find(find_algorithm, "cublasLtMatmulAlgoGetHeuristic") &&
           has.find(create_operation, "cublasLtMatmulDescCreate") &&
           has.find(set_operation, "cublasLtMatmulDescSetAttribute") &&
           has.find(create_layout, "cublasLtMatrixLayoutCreate") &&
           has.find(set_layout, "cublasLtMatrixLayoutSetAttribute") &&
           has.find(create_preference, "cublasLtMatmulPreferenceCreate") &&
           has.find(set_preference, "cublasLtMatmulPreferenceSetAttribute") &&
           has.find(destroy_preference, "cublasLtMatmulPreferenceDestroy") &&
           has.find(destroy_operation, "cublasLtMatmulDescDestroy") &&
           has.find(destroy_layout, "cublasLtMatrixLayoutDestroy") &&
           create(&context) == CUBLAS_STATUS_SUCCESS;
  }
};

// nullptr if the library is not found.
Library* library() {
  static Library* loaded = [] {
    auto* result = new Library;
    return result->load() ? result : nullptr;
  }();
  return loaded;
}

void check(cublasStatus_t status) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    fail<std::runtime_error>(
        "[matmul] cuBLASLt failed with status ", static_cast<int>(status), ".");
  }
}

// Everything that the choice of an algorithm depends on.
struct Key {
  Dtype dtype;
  bool tf32; // whether tensor cores may round float32 factors
  bool transpose_a, transpose_b;
  int64_t m, n, k, lda, ldb, ldc;
  int64_t batch, a_step, b_step, c_step;
  std::array<int64_t, 3> alignments;
  int64_t most_workspace;

  auto operator<=>(const Key&) const = default;
};

struct Types {
  cudaDataType_t element;
  cublasComputeType_t compute;
  cudaDataType_t scale;
};

Types types_of(Dtype dtype, bool tf32) {
  switch (dtype) {
    case Dtype::float16:
      return {CUDA_R_16F, CUBLAS_COMPUTE_32F, CUDA_R_32F};
    case Dtype::bfloat16:
      return {CUDA_R_16BF, CUBLAS_COMPUTE_32F, CUDA_R_32F};
    case Dtype::float64:
      return {CUDA_R_64F, CUBLAS_COMPUTE_64F, CUDA_R_64F};
    case Dtype::complex64:
      return {CUDA_C_32F, CUBLAS_COMPUTE_32F, CUDA_C_32F};
    default:
      return {CUDA_R_32F, tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F};
  }
}

// alpha or beta in all types that the library may want.
struct Scale {
  explicit Scale(float value) : as_double(value), as_complex{value, 0} {
  }
  const void* as(Dtype dtype) const {
    return dtype == Dtype::float64 ? static_cast<const void*>(&as_double) : as_complex;
  }
  double as_double;
  float as_complex[2];
};

// How cuBLASLt multiplies matrices of one kind. Its matrices are column-major. A row-major a @ b
// is, column-major, the product of both transposed matrices in the other order.
class GemmPlan final : public LibraryPlan {
 public:
  Dtype dtype = Dtype::float32;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr;
  cublasLtMatrixLayout_t b = nullptr;
  cublasLtMatrixLayout_t c = nullptr;
  cublasLtMatmulAlgo_t algorithm;
  int64_t workspace = 0;
  bool found = false;

  ~GemmPlan() override {
    for (cublasLtMatrixLayout_t layout : {a, b, c}) {
      if (layout) {
        library()->destroy_layout(layout);
      }
    }
    if (operation) {
      library()->destroy_operation(operation);
    }
  }
  const char* name() const override {
    return "matmul";
  }
  void run(const LibraryCall& call, cudaStream_t stream) const override {
    const Scale alpha(call.alpha);
    const Scale beta(call.beta);
    check(library()->matmul(
        library()->context,
        operation,
        alpha.as(dtype),
        call.b,
        b,
        call.a,
        a,
        beta.as(dtype),
        call.c,
        c,
        call.c,
        c,
        &algorithm,
        call.workspace,
        static_cast<size_t>(call.workspace_bytes),
        stream));
  }
};

template <typename T>
void set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, T value) {
  check(library()->set_operation(operation, attribute, &value, sizeof(value)));
}

cublasLtMatrixLayout_t make_layout(
    cudaDataType_t type, bool transposed, int64_t rows, int64_t columns, int64_t ld) {
  cublasLtMatrixLayout_t layout;
  check(library()->create_layout(
      &layout,
      type,
      static_cast<uint64_t>(transposed ? rows : columns),
      static_cast<uint64_t>(transposed ? columns : rows),
      ld));
  return layout;
}

void set_batch(cublasLtMatrixLayout_t layout, int64_t count, int64_t step) {
  const auto batch = static_cast<int32_t>(count);
  check(library()->set_layout(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof(batch)));
  check(library()->set_layout(
      layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof(step)));
}

void choose_algorithm(const Key& key, GemmPlan& plan) {
  Library& lt = *library();
  cublasLtMatmulPreference_t preference;
  check(lt.create_preference(&preference));
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    check(lt.set_preference(preference, attribute, &value, sizeof(value)));
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(key.most_workspace));
  // The library's first factor is b.
  const auto alignment = [&](size_t i) { return static_cast<uint32_t>(key.alignments[i]); };
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(1));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(0));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(2));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(2));
  std::array<cublasLtMatmulHeuristicResult_t, kMostWays> ways{};
  const bool wants_none = key.k <= kLongestWhole; // of the workspace
  int count = 0;
  const cublasStatus_t status = lt.find_algorithm(
      lt.context,
      plan.operation,
      plan.b,
      plan.a,
      plan.c,
      plan.c,
      preference,
      wants_none ? kMostWays : 1,
      ways.data(),
      &count);
  lt.destroy_preference(preference);
  plan.found = status == CUBLAS_STATUS_SUCCESS && count > 0;
  if (!plan.found) {
    return;
  }
  auto way = std::find_if(ways.begin(), ways.begin() + count, [&](const auto& each) {
    return !wants_none || each.workspaceSize == 0;
  });
  way = way == ways.begin() + count ? ways.begin() : way;
  plan.algorithm = way->algo;
  plan.workspace = static_cast<int64_t>(way->workspaceSize);
}

std::shared_ptr<const GemmPlan> make_plan(const Key& key) {
  auto result = std::make_shared<GemmPlan>();
  GemmPlan& plan = *result;
  plan.dtype = key.dtype;
  const Types types = types_of(key.dtype, key.tf32);
  check(library()->create_operation(&plan.operation, types.compute, types.scale));
  const auto transposition = [](bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
  set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, transposition(key.transpose_b));
  set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, transposition(key.transpose_a));
  plan.a = make_layout(types.element, key.transpose_a, key.m, key.k, key.lda);
  plan.b = make_layout(types.element, key.transpose_b, key.k, key.n, key.ldb);
  plan.c = make_layout(types.element, false, key.m, key.n, key.ldc);
  if (key.batch > 1) {
    set_batch(plan.a, key.batch, key.a_step);
    set_batch(plan.b, key.batch, key.b_step);
    set_batch(plan.c, key.batch, key.c_step);
  }
  choose_algorithm(key, plan);
  return result;
}

// nullptr if the library is missing or cannot compute the product.
std::shared_ptr<const GemmPlan> plan_of(const Key& key) {
  static auto* plans = new RecentCache<Key, GemmPlan>(kMostPlans); // never destroyed
  if (!library()) {
    return nullptr;
  }
  std::shared_ptr<const GemmPlan> plan = plans->get(key, make_plan);
  return plan->found ? plan : nullptr;
}

Key key_of(Dtype dtype, const MatmulTileParams& p, int64_t batch) {
  const bool tf32 = dtype == Dtype::float32 && tf32_enabled();
  return {
      dtype,
      tf32,
      p.transpose_a != 0,
      p.transpose_b != 0,
      p.m,
      p.n,
      p.k,
      p.lda,
      p.ldb,
      p.ldc,
      batch,
      p.a_stride,
      p.b_stride,
      p.c_stride,
      {kBestAlignment, kBestAlignment, kBestAlignment},
      p.k > kLongestWhole || tf32 ? kMostWorkspace : 0};
}

// The alignment of all matrices of an operand: the largest power of two, up to 16.
int64_t alignment_of(std::uintptr_t address, int64_t step_bytes) {
  int64_t alignment = kBestAlignment;
  while ((address | static_cast<std::uintptr_t>(step_bytes)) % alignment != 0) {
    alignment /= 2;
  }
  return alignment;
}

} // namespace

// The workspace of the products that the batch's dispatches become, as if all were aligned to 16
// bytes.
int64_t matmul_scratch(const KernelId& kernel, std::span<const std::byte> params) {
  const std::array<std::uintptr_t, 3> aligned{};
  gpu::Dispatches dispatches;
  gpu::row_of(kernel.family)->dispatch({kernel, aligned, params}, dispatches);
  int64_t bytes = 0;
  for (const gpu::Dispatch& dispatch : dispatches.all()) {
    const auto p = dispatch.params_as<MatmulTileParams>();
    const std::shared_ptr<const GemmPlan> plan = plan_of(key_of(kernel.in, p, dispatch.groups[2]));
    bytes = std::max(bytes, plan ? plan->workspace : 0);
  }
  return bytes;
}

std::optional<HeldLibraryCall> product_of(
    const KernelCall& call,
    const gpu::Dispatch& share,
    const std::array<std::uintptr_t, 3>& addresses) {
  const auto p = share.params_as<MatmulTileParams>();
  const Dtype dtype = call.kernel.out;
  Key key = key_of(dtype, p, share.groups[2]);
  const std::array<int64_t, 3> steps = {p.a_stride, p.b_stride, p.c_stride};
  for (size_t i = 0; i < 3; ++i) {
    key.alignments[i] = alignment_of(addresses[i], steps[i] * size_of(dtype));
  }
  // Other families need their scratch themselves.
  const bool is_matmul = call.kernel.family == KernelFamily::matmul;
  const Operand scratch = is_matmul ? call.scratch : Operand{};
  const int64_t bytes = scratch.buffer ? scratch.buffer->bytes - scratch.offset : 0;
  std::shared_ptr<const GemmPlan> plan = plan_of(key);
  if (plan && plan->workspace > bytes) {
    key.most_workspace = bytes;
    plan = plan_of(key);
  }
  if (!plan) {
    return std::nullopt;
  }
  const LibraryCall product{
      plan.get(),
      plan->number(),
      reinterpret_cast<const void*>(addresses[0]),
      reinterpret_cast<const void*>(addresses[1]),
      reinterpret_cast<void*>(addresses[2]),
      plan->workspace > 0 ? static_cast<std::byte*>(scratch.buffer->memory) + scratch.offset
                          : nullptr,
      plan->workspace,
      p.alpha,
      p.beta};
  return HeldLibraryCall{product, std::move(plan)};
}

} // namespace narrows::cuda
