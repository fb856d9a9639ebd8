#include "narrows/ops/distributed.h"

#include <algorithm>
#include <array>
#include <mutex>

#include "metal_kernels/collective.h"
#include "narrows/ops/collective_order.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/extreme.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/stop_gradient.h"
#include "narrows/ops/strided.h"
#include "narrows/plan/placement.h"
#include "narrows/record/runs_once.h"

namespace narrows {
namespace {

// As in the table of families.
const char* name_of(CollectiveOp op) {
  static const auto* names = [] {
    auto* all = new std::vector<std::string>;
    for (int i = 0; i < operation_count(KernelFamily::collective); ++i) {
      all->emplace_back(operation_name(KernelFamily::collective, static_cast<uint8_t>(i)));
    }
    return all;
  }();
  return (*names)[static_cast<size_t>(op)].c_str();
}

bool is_on_gpu(int group) {
  return process_group(group).device() == Device::Type::gpu;
}

bool is_extreme(CollectiveOp op) {
  return op == CollectiveOp::all_max || op == CollectiveOp::all_min;
}

struct CollectiveFields {
  CollectiveOp op_;
  int group_;
  std::optional<int> peer_; // of send and recv

  static constexpr std::tuple fields{
      field("group", &CollectiveFields::group_), field("peer", &CollectiveFields::peer_)};
};

// The result, and the token behind it. `x` is no array if it receives.
std::vector<array> record_collective(
    const CollectiveFields& fields,
    const array& x,
    const std::vector<OutputSpec>& results,
    StreamOrDevice s);

// The outputs of an operation of this array in a group of several processes.
std::vector<array> outputs_of(const CollectiveFields& fields, const array& x, StreamOrDevice s);

// Tokens of a batch. Nobody reads them: the operations of a batch have a token of their own.
array batch_of_tokens(int64_t size, StreamOrDevice s) {
  return zeros({size, 0}, kTokenSpec.dtype, s);
}

// Inputs: the array, unless it receives; the token of the operation before, if there is one.
// Outputs: the result, unless it sends; the token.
class Collective final : public Record<CollectiveFields>, public RunsOnce {
 public:
  using Record::Record;

  const char* name() const override {
    return name_of(op_);
  }
  KernelId kernel(Dtype, Dtype out) const override {
    KernelId id{KernelFamily::collective, static_cast<uint8_t>(op_), out, out};
    id.mode = is_on_gpu(group_) ? kOnDeviceQueue : 0;
    return id;
  }
  void place(Placement& placement) const override {
    if (receives()) {
      placement.allocate(0);
      placement.allocate(1);
      return;
    }
    placement.pack(0);
    if (op_ == CollectiveOp::send) {
      placement.allocate(0);
      return;
    }
    const bool may_donate = op_ == CollectiveOp::all_sum || is_extreme(op_);
    if (!may_donate || !placement.donate(0, 0)) {
      placement.allocate(0);
    }
    placement.allocate(1);
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& in = receives() ? step.outputs[0] : step.inputs[0];
    const ArrayView& out = op_ == CollectiveOp::send ? step.inputs[0] : step.outputs[0];
    const std::array operands = {in.operand(), out.operand()};
    try {
      encoder.run({kernel(out.dtype, out.dtype), operands, params_of(*in.shape)});
    } catch (...) {
      forget_tokens(group_);
      if (process_group(group_).holds_memory()) {
        in.buffer->refs.fetch_add(1); // never freed
        out.buffer->refs.fetch_add(1);
      }
      throw;
    }
  }

  // Every process computes the same loss of what all of them got. So a sum's cotangent is the same
  // in all processes, and is that of each summand.
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    std::vector<array> result(op.inputs.size());
    if (receives() || op_ == CollectiveOp::send || !cotangents[0]) {
      return result;
    }
    const array& g = cotangents[0];
    const array& x = op.inputs[0];
    if (op_ == CollectiveOp::all_gather) {
      const array each = reshape(g, with_batch(group().size(), x.shape()), op.stream);
      result[0] = entry(each, group().rank(), op.stream);
    } else if (op_ == CollectiveOp::sum_scatter) {
      result[0] = distributed::all_gather(g, group_, op.stream);
    } else {
      result[0] = is_extreme(op_) ? multiply(g, share(op, g.dtype()), op.stream) : g;
    }
    return result;
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    std::vector<array> result(op.outputs.size());
    if (receives() || op_ == CollectiveOp::send || !tangents[0]) {
      return result;
    }
    if (is_extreme(op_)) {
      const array own = multiply(tangents[0], share(op, tangents[0].dtype()), op.stream);
      result[0] = distributed::all_sum(own, group_, op.stream);
    } else {
      result[0] = outputs_of(*this, tangents[0], op.stream)[0];
    }
    return result;
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    const array tokens = batch_of_tokens(size, op.stream);
    if (receives()) {
      const OutputSpec result{op.outputs[0].shape(), op.outputs[0].dtype()};
      const array received = record_collective(*this, {}, {result}, op.stream)[0];
      return {as_batch(received, false, size, op.stream), tokens};
    }
    if (op_ == CollectiveOp::send) {
      const array token = record_collective(*this, inputs[0], {}, op.stream)[0];
      return {depends({tokens}, {token})[0]};
    }
    // What all_gather and sum_scatter change must be the first axis.
    const bool moves = batched[0] && !is_extreme(op_) && op_ != CollectiveOp::all_sum;
    const array x = moves ? moveaxis(inputs[0], 0, -1, op.stream) : inputs[0];
    if (moves && op.inputs[0].ndim() == 0) { // scalars are gathered into a vector
      const array rows = reshape(x, {1, size}, op.stream);
      return {moveaxis(outputs_of(*this, rows, op.stream)[0], -1, 0, op.stream), tokens};
    }
    const array y = outputs_of(*this, x, op.stream)[0];
    return {
        moves ? moveaxis(y, -1, 0, op.stream) : as_batch(y, batched[0], size, op.stream), tokens};
  }

 private:
  bool receives() const {
    return op_ == CollectiveOp::recv;
  }
  const ProcessGroup& group() const {
    return process_group(group_);
  }
  static array entry(const array& a, int64_t index, StreamOrDevice s) {
    Shape from(a.ndim(), 0);
    Shape to = a.shape();
    from[0] = index;
    to[0] = index + 1;
    return squeeze(slice(a, from, to, Shape(a.ndim(), 1), s), Axes{0}, s);
  }
  array share(const Recorded& op, Dtype dtype) const {
    return share_of_extreme(op.inputs[0], op.outputs[0], dtype, group_, op.stream);
  }
  CollectiveParams params_of(const Shape& shape) const {
    CollectiveParams params{};
    params.group = group_;
    params.peer = peer_.value_or(0);
    params.count = element_count(shape);
    params.ndim = shape.ndim();
    for (int i = 0; i < shape.ndim(); ++i) {
      const int at = std::min(i, COLLECTIVE_DIMENSIONS - 1);
      params.shape[at] = i < COLLECTIVE_DIMENSIONS ? shape[i] : params.shape[at] * shape[i];
    }
    return params;
  }
};

std::vector<array> record_collective(
    const CollectiveFields& fields,
    const array& x,
    const std::vector<OutputSpec>& results,
    StreamOrDevice s) {
  const AutoEvalPause pause; // what is evaluated could wait for another thread that records
  static std::mutex* const one_by_one = new std::mutex;
  std::lock_guard lock(*one_by_one);
  std::vector<array> inputs;
  if (x) {
    inputs.push_back(x);
  }
  if (const array token = latest_token(fields.group_)) {
    inputs.push_back(token);
  }
  std::vector<OutputSpec> outputs = results;
  outputs.push_back(kTokenSpec);
  // From a GPU, record() itself goes to the CPU.
  const bool goes_to_gpu = is_on_gpu(fields.group_) && s.stream().device.type != Device::Type::gpu;
  const Stream stream = goes_to_gpu ? default_stream({Device::Type::gpu, 0}) : s.stream();
  std::vector<array> recorded = record(
      std::make_shared<Collective>(fields.op_, fields.group_, fields.peer_),
      stream,
      outputs,
      inputs);
  if (goes_to_gpu) {
    recorded[0].node()->set_asked_stream(s.stream());
  }
  set_latest_token(fields.group_, recorded.back());
  return recorded;
}

// Elements that one process has. MPI counts them in 31 bits.
void require_countable(CollectiveOp op, const array& x) {
  constexpr int64_t kMost = int64_t{1} << 30;
  if (x.size() >= kMost) {
    fail<ValueError>(
        "[", name_of(op), "] an array of ", x.size(), " elements, expected less than ", kMost, ".");
  }
}

Shape shape_of_result(CollectiveOp op, const array& x, int64_t processes) {
  Shape shape = x.shape();
  if (op == CollectiveOp::all_gather) {
    require_countable(op, x);
    if (shape.empty()) {
      return {processes};
    }
    shape[0] = checked_multiply("all_gather", shape[0], processes);
  } else if (op == CollectiveOp::sum_scatter) {
    require_countable(op, x);
    if (shape.empty() || shape[0] % processes != 0) {
      fail<ValueError>(
          "[sum_scatter] shape ",
          to_string(shape),
          ", expected a first axis that is a multiple of the group's ",
          processes,
          " processes.");
    }
    shape[0] /= processes;
  }
  return shape;
}

std::vector<array> outputs_of(const CollectiveFields& fields, const array& x, StreamOrDevice s) {
  const Shape shape = shape_of_result(fields.op_, x, process_group(fields.group_).size());
  return record_collective(fields, x, {{shape, x.dtype()}}, s);
}

array collective(CollectiveOp op, const array& x, int group, StreamOrDevice s) {
  const ProcessGroup& g = process_group(group);
  if (g.size() == 1) {
    return x;
  }
  const auto directly = [&](const array& a) { return outputs_of({op, group, {}}, a, s)[0]; };
  if (g.has(op, x.dtype())) {
    return directly(x);
  }
  if (is_inexact(x.dtype())) {
    return extreme_of_integers(op, x, group, directly, s);
  }
  return astype(directly(astype(x, int32, s)), x.dtype(), s); // integers of 16 bits
}

void require_peer(const char* op, const char* direction, int peer, int group) {
  const ProcessGroup& g = process_group(group);
  if (g.size() == 1) {
    fail<ValueError>(
        "[",
        op,
        "] ",
        direction,
        " rank ",
        peer,
        " of a group of one process, expected another process");
  }
  if (peer < 0 || peer >= g.size() || peer == g.rank()) {
    fail<ValueError>(
        "[",
        op,
        "] ",
        direction,
        " rank ",
        peer,
        " in rank ",
        g.rank(),
        " of ",
        g.size(),
        ", expected another process of the group");
  }
}

} // namespace

namespace distributed {

array all_sum(const array& x, int group, StreamOrDevice s) {
  return collective(CollectiveOp::all_sum, x, group, s);
}

array all_max(const array& x, int group, StreamOrDevice s) {
  return collective(CollectiveOp::all_max, x, group, s);
}

array all_min(const array& x, int group, StreamOrDevice s) {
  return collective(CollectiveOp::all_min, x, group, s);
}

array all_gather(const array& x, int group, StreamOrDevice s) {
  return collective(CollectiveOp::all_gather, x, group, s);
}

array sum_scatter(const array& x, int group, StreamOrDevice s) {
  return collective(CollectiveOp::sum_scatter, x, group, s);
}

array send(const array& x, int to, int group, StreamOrDevice s) {
  require_peer("send", "to", to, group);
  const array token = record_collective({CollectiveOp::send, group, to}, x, {}, s)[0];
  return depends({x}, {token})[0];
}

array recv(const Shape& shape, Dtype dtype, int from, int group, StreamOrDevice s) {
  require_peer("recv", "from", from, group);
  checked_size("recv", shape);
  return record_collective({CollectiveOp::recv, group, from}, {}, {{shape, dtype}}, s)[0];
}

int split(int group, int color, int key) {
  ProcessGroup& g = process_group(group);
  if (const array token = latest_token(group)) {
    token.eval();
  }
  return g.split(color, key);
}

} // namespace distributed

namespace {

// Files keep the number of the group. Another process may have none of that number, or one of
// another size.
std::vector<array> again(CollectiveOp op, const OperationCall& call, CollectiveFields fields) {
  fields.op_ = op;
  if (op == CollectiveOp::recv) {
    require_peer("recv", "from", fields.peer_.value_or(-1), fields.group_);
    return record_collective(fields, {}, {{call.shape(), call.dtype()}}, call.stream);
  }
  if (call.inputs.empty()) {
    fail<ValueError>("[", call.name, "] no inputs, expected an array.");
  }
  const array& x = call.inputs[0];
  if (op == CollectiveOp::send) {
    require_peer("send", "to", fields.peer_.value_or(-1), fields.group_);
    return record_collective(fields, x, {}, call.stream);
  }
  if (process_group(fields.group_).size() == 1) {
    return {x, zeros(kTokenSpec.shape, kTokenSpec.dtype, call.stream)};
  }
  if (process_group(fields.group_).has(op, x.dtype())) {
    return outputs_of(fields, x, call.stream);
  }
  return {
      collective(op, x, fields.group_, call.stream),
      zeros(kTokenSpec.shape, kTokenSpec.dtype, call.stream)};
}

class CollectiveRow : public RecordRow<CollectiveFields, kAnyInputs> {
 public:
  explicit CollectiveRow(CollectiveOp op)
      : RecordRow(name_of(op), [op](const OperationCall& call, const CollectiveFields& fields) {
          return again(op, call, fields);
        }) {
  }
};

const CollectiveRow kAllSum(CollectiveOp::all_sum);
const CollectiveRow kAllMax(CollectiveOp::all_max);
const CollectiveRow kAllMin(CollectiveOp::all_min);
const CollectiveRow kAllGather(CollectiveOp::all_gather);
const CollectiveRow kSumScatter(CollectiveOp::sum_scatter);
const CollectiveRow kSend(CollectiveOp::send);
const CollectiveRow kRecv(CollectiveOp::recv);

} // namespace

} // namespace narrows
