#include "narrows/backend/cpu/convolution.h"

#if NARROWS_HAS_ONEDNN

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "narrows/backend/cpu/onednn.h"
#include "narrows/core/divided_up.h"

namespace narrows::cpu::onednn {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

constexpr int64_t kAlignment = 64;

int64_t aligned_size(const memory::desc& desc) {
  const auto bytes = static_cast<int64_t>(desc.get_size());
  return divided_up(bytes, kAlignment) * kAlignment;
}

// Generated code has offsets of 32 bits. Larger arrays are computed elsewhere.
bool fits(const ConvolutionParams& p) {
  constexpr int64_t kMostElements = int64_t{1} << 29;
  const auto volume = [](const int64_t* size) { return size[0] * size[1] * size[2]; };
  const int64_t x = p.batch * volume(p.x_size) * p.x_channels;
  const int64_t y = p.batch * volume(p.y_size) * p.y_channels;
  const int64_t w = volume(p.w_size) * p.x_channels * p.y_channels;
  return std::max({x, y, w}) < kMostElements;
}

// The arrays of a convolution as oneDNN describes them.
struct Geometry {
  memory::dims x, y, w;
  memory::dims strides, dilations, padding_low, padding_high;
  Tag plain;         // of x and y in memory
  Tag plain_weights; // of w in memory

  // Empty if oneDNN has no such convolution.
  static std::optional<Geometry> of(const ConvolutionParams& p) {
    if (!fits(p)) {
      return std::nullopt;
    }
    Geometry g;
    const bool grouped = p.groups > 1;
    g.x = {p.batch, p.x_channels};
    g.y = {p.batch, p.y_channels};
    g.w = {p.y_channels / p.groups, p.x_channels / p.groups};
    if (grouped) {
      g.w.insert(g.w.begin(), p.groups);
    }
    const bool has_depth = p.ndim == 3;
    for (int d = has_depth ? 0 : 1; d < NARROWS_CONVOLUTION_PLACES; ++d) {
      const int64_t reach = (p.w_size[d] - 1) * p.w_dilation[d] + 1;
      const int64_t high = (p.y_size[d] - 1) * p.stride[d] + reach - p.x_size[d] - p.padding[d];
      if (p.padding[d] < 0 || p.x_dilation[d] != 1 || high <= -p.stride[d]) {
        return std::nullopt;
      }
      g.x.push_back(p.x_size[d]);
      g.y.push_back(p.y_size[d]);
      g.w.push_back(p.w_size[d]);
      g.strides.push_back(p.stride[d]);
      g.dilations.push_back(p.w_dilation[d] - 1);
      g.padding_low.push_back(p.padding[d]);
      g.padding_high.push_back(high);
    }
    g.plain = has_depth ? Tag::ndhwc : Tag::nhwc;
    g.plain_weights =
        grouped ? (has_depth ? Tag::godhwi : Tag::gohwi) : (has_depth ? Tag::odhwi : Tag::ohwi);
    return g;
  }
};

// Whether the code may run: it must be fast and keep the stack pointer in the thread's stack
// (gemm_onednn.cpp says why). "gemm" uses products that do not keep it there; "ref" is reference
// code.
bool is_good(std::string_view implementation) {
  return implementation.substr(0, 3) == "brg" || implementation.substr(0, 3) == "jit" ||
         implementation.substr(0, 3) == "brd";
}

// An operand of the primitive, and its conversion from or to the array in memory.
class Operand {
 public:
  Operand(int argument, const memory::desc& plain, const memory::desc& wanted, bool is_result)
      : argument_(argument), plain_(plain), wanted_(wanted) {
    if (plain == wanted) {
      return;
    }
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const dnnl::reorder::primitive_desc description(
        engine(),
        is_result ? wanted : plain,
        engine(),
        is_result ? plain : wanted,
        attributes,
        /*allow_empty=*/true);
    is_possible_ = static_cast<bool>(description);
    if (is_possible_) {
      scratchpad_ = description.scratchpad_desc();
      reorder_.emplace(description);
    }
  }

  bool is_possible() const {
    return is_possible_;
  }
  bool is_copied() const {
    return reorder_.has_value();
  }
  int argument() const {
    return argument_;
  }
  int64_t copy_bytes() const {
    return is_copied() ? aligned_size(wanted_) : 0;
  }
  int64_t scratchpad_bytes() const {
    return is_copied() ? aligned_size(scratchpad_) : 0;
  }
  memory plain(const void* data) const {
    return memory(plain_, engine(), const_cast<void*>(data));
  }
  memory wanted(const void* data) const {
    return memory(wanted_, engine(), const_cast<void*>(data));
  }
  void copy(dnnl::stream& stream, memory from, memory to, void* scratchpad) const {
    reorder_->execute(
        stream,
        {{DNNL_ARG_FROM, std::move(from)},
         {DNNL_ARG_TO, std::move(to)},
         {DNNL_ARG_SCRATCHPAD, memory(scratchpad_, engine(), scratchpad)}});
  }

 private:
  int argument_;
  memory::desc plain_;
  memory::desc wanted_;
  memory::desc scratchpad_;
  std::optional<dnnl::reorder> reorder_;
  bool is_possible_ = true;
};

// What descriptions of all three operations have in common.
struct Described {
  dnnl::primitive primitive;
  memory::desc scratchpad;
  std::vector<Operand> operands; // the two inputs and the result
};

class Ready final : public Convolution {
 public:
  Ready(Described described, int threads) : d_(std::move(described)), threads_(threads) {
    scratchpad_bytes_ = aligned_size(d_.scratchpad);
    for (const Operand& operand : d_.operands) {
      scratchpad_bytes_ = std::max(scratchpad_bytes_, operand.scratchpad_bytes());
      copy_bytes_ += operand.copy_bytes();
    }
  }

  int64_t scratch_bytes() const override {
    return scratchpad_bytes_ + copy_bytes_;
  }

  void run(const void* a, const void* b, void* out, void* scratch) const override {
    const ThreadScope scope(threads_);
    dnnl::stream stream(engine());
    auto* copies = static_cast<std::byte*>(scratch) + scratchpad_bytes_;
    const void* const places[] = {a, b, out};
    std::unordered_map<int, memory> arguments{
        {DNNL_ARG_SCRATCHPAD, memory(d_.scratchpad, engine(), scratch)}};
    const void* result = out;
    for (size_t i = 0; i < 3; ++i) {
      const Operand& operand = d_.operands[i];
      const void* place = operand.is_copied() ? copies : places[i];
      copies += operand.copy_bytes();
      if (operand.is_copied() && i < 2) {
        operand.copy(stream, operand.plain(places[i]), operand.wanted(place), scratch);
      }
      result = place;
      arguments.emplace(operand.argument(), operand.wanted(place));
    }
    d_.primitive.execute(stream, arguments);
    if (result != out) {
      d_.operands[2].copy(
          stream, d_.operands[2].wanted(result), d_.operands[2].plain(out), scratch);
    }
  }

 private:
  Described d_;
  int threads_;
  int64_t scratchpad_bytes_ = 0;
  int64_t copy_bytes_ = 0;
};

class Maker {
 public:
  Maker(const ConvolutionCall& call, const Geometry& g)
      : op_(call.op), g_(g), type_(type_of(call.dtype)) {
    attributes_.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  }

  std::optional<Described> make() const {
    const dnnl::convolution_forward::primitive_desc forward(
        engine(),
        dnnl::prop_kind::forward_training,
        dnnl::algorithm::convolution_direct,
        x(),
        w(),
        y(),
        g_.strides,
        g_.dilations,
        g_.padding_low,
        g_.padding_high,
        attributes_,
        /*allow_empty=*/true);
    if (!forward) {
      return std::nullopt;
    }
    switch (op_) {
      case ConvolutionOp::forward:
        return described<dnnl::convolution_forward>(
            forward,
            {{DNNL_ARG_SRC, x(), forward.src_desc()},
             {DNNL_ARG_WEIGHTS, plain_w(), forward.weights_desc()},
             {DNNL_ARG_DST, y(), forward.dst_desc()}});
      case ConvolutionOp::input_gradient: {
        const auto backward = gradient_of<dnnl::convolution_backward_data>(forward);
        if (!backward) {
          return std::nullopt;
        }
        return described<dnnl::convolution_backward_data>(
            backward,
            {{DNNL_ARG_DIFF_DST, y(), backward.diff_dst_desc()},
             {DNNL_ARG_WEIGHTS, plain_w(), backward.weights_desc()},
             {DNNL_ARG_DIFF_SRC, x(), backward.diff_src_desc()}});
      }
      default: {
        const auto backward = gradient_of<dnnl::convolution_backward_weights>(forward);
        if (!backward) {
          return std::nullopt;
        }
        return described<dnnl::convolution_backward_weights>(
            backward,
            {{DNNL_ARG_SRC, x(), backward.src_desc()},
             {DNNL_ARG_DIFF_DST, y(), backward.diff_dst_desc()},
             {DNNL_ARG_DIFF_WEIGHTS, plain_w(), backward.diff_weights_desc()}});
      }
    }
  }

 private:
  // Empty if oneDNN has none.
  template <typename Gradient>
  typename Gradient::primitive_desc gradient_of(
      const dnnl::convolution_forward::primitive_desc& forward) const {
    return typename Gradient::primitive_desc(
        engine(),
        dnnl::algorithm::convolution_direct,
        x(),
        w(),
        y(),
        g_.strides,
        g_.dilations,
        g_.padding_low,
        g_.padding_high,
        forward,
        attributes_,
        /*allow_empty=*/true);
  }

  struct Wanted {
    int argument;
    memory::desc plain;
    memory::desc desc;
  };

  memory::desc x() const {
    return {g_.x, type_, g_.plain};
  }
  memory::desc y() const {
    return {g_.y, type_, g_.plain};
  }
  // In the layout that the code prefers.
  memory::desc w() const {
    return {g_.w, type_, Tag::any};
  }
  memory::desc plain_w() const {
    return {g_.w, type_, g_.plain_weights};
  }

  template <typename Primitive>
  static std::optional<Described> described(
      const typename Primitive::primitive_desc& description,
      std::initializer_list<Wanted> operands) {
    if (!is_good(description.impl_info_str())) {
      return std::nullopt;
    }
    Described result;
    for (const Wanted& wanted : operands) {
      const bool is_result = result.operands.size() == 2;
      result.operands.emplace_back(wanted.argument, wanted.plain, wanted.desc, is_result);
      if (!result.operands.back().is_possible()) {
        return std::nullopt;
      }
    }
    result.scratchpad = description.scratchpad_desc();
    result.primitive = Primitive(description);
    return result;
  }

  ConvolutionOp op_;
  const Geometry& g_;
  memory::data_type type_;
  dnnl::primitive_attr attributes_;
};

std::shared_ptr<const Convolution> make(const ConvolutionCall& call, int threads) {
  const std::optional<Geometry> geometry = Geometry::of(call.params);
  if (!geometry) {
    return nullptr;
  }
  const ThreadScope scope(threads);
  std::optional<Described> described = Maker(call, *geometry).make();
  return described ? std::make_shared<Ready>(std::move(*described), threads) : nullptr;
}

struct Request {
  ConvolutionCall call;
  int threads;
  bool operator==(const Request&) const = default;
};

} // namespace

std::shared_ptr<const Convolution> prepare(const ConvolutionCall& call, int threads) {
  if (call.dtype != Dtype::float32 && !is_half(call.dtype)) {
    return nullptr;
  }
  thread_local Answers<Request, Convolution, 256> answers;
  return answers.find_or_make({call, threads}, [&] { return make(call, threads); });
}

} // namespace narrows::cpu::onednn

#else

namespace narrows::cpu::onednn {

std::shared_ptr<const Convolution> prepare(const ConvolutionCall&, int) {
  return nullptr;
}

} // namespace narrows::cpu::onednn

#endif
