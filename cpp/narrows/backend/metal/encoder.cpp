#include "narrows/backend/metal/encoder.h"

#include <algorithm>
#include <array>

#include "narrows/backend/gpu/program.h"
#include "narrows/core/errors.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/fork.h"

namespace narrows::metal {
namespace {

// The most operations of a command buffer. It takes time to start, but nothing of it runs before it
// is committed.
constexpr size_t kMostOperations = 64;
constexpr int64_t kMostBytes = int64_t{64} << 20;
constexpr size_t kKernelsShown = 4;

std::uintptr_t address(const Operand& operand) {
  return reinterpret_cast<std::uintptr_t>(operand.buffer->memory) + operand.offset;
}

std::exception_ptr error_of(const MTL::CommandBuffer& commands, const Batch& batch) {
  if (commands.status() != MTL::CommandBufferStatusError) {
    return nullptr;
  }
  std::string kernels;
  for (size_t i = 0; i < std::min(kKernelsShown, batch.kernels.size()); ++i) {
    kernels += (i ? ", " : "") + *batch.kernels[i];
  }
  const size_t more = batch.kernels.size() - std::min(kKernelsShown, batch.kernels.size());
  return std::make_exception_ptr(std::runtime_error(concat_message(
      "[metal] the device failed with ",
      describe(commands.error()),
      " in work of the kernels ",
      kernels,
      more ? concat_message(" and ", more, " more.") : ".")));
}

} // namespace

MetalEncoder::MetalEncoder(Shared& shared) : shared_(shared), generation_(fork_generation()) {
  AutoreleaseScope scope;
  queue_ = NS::TransferPtr(shared.device.get()->newCommandQueue());
  fence_ = NS::TransferPtr(shared.device.get()->newFence());
  work_.signal = NS::TransferPtr(shared.device.get()->newSharedEvent());
}

void MetalEncoder::run(const KernelCall& call) {
  std::lock_guard lock(mutex_);
  gpu::for_each_dispatch(
      call, address, [&](const gpu::Dispatch& dispatched, std::span<const Operand> operands) {
        dispatch(shared_.device.pipeline(dispatched.kernel), dispatched, operands);
      });
}

void MetalEncoder::run_program(const ProgramCall& call) {
  std::lock_guard lock(mutex_);
  std::array<std::uintptr_t, kMostOperands> addresses{};
  for (size_t k = 0; k < call.operands.size(); ++k) {
    addresses[k] = call.operands[k].buffer ? address(call.operands[k]) : 0;
  }
  gpu::Dispatch dispatched;
  const void* kernel =
      shared_.programs.dispatch(call, {addresses.data(), call.operands.size()}, dispatched);
  std::array<Operand, kMostOperands> operands;
  dispatch(
      kernel ? *static_cast<const Device::Pipeline*>(kernel)
             : shared_.device.pipeline(dispatched.kernel),
      dispatched,
      gpu::operands_of(call, dispatched, operands));
}

void MetalEncoder::dispatch(
    const Device::Pipeline& pipeline,
    const gpu::Dispatch& dispatch,
    std::span<const Operand> operands) {
  if (dispatch.threads > pipeline.most_threads) {
    fail<std::runtime_error>(
        "[metal] ",
        pipeline.name,
        " wants ",
        dispatch.threads,
        " threads in a threadgroup, this device has at most ",
        pipeline.most_threads,
        " for it.");
  }
  make_room(operands.last(dispatch.written));
  encode(pipeline, dispatch, operands);
  keep(operands, dispatch.written);
  if (batch_->kernels.size() >= kMostOperations || batch_->written >= kMostBytes) {
    commit();
  }
}

void MetalEncoder::encode(
    const Device::Pipeline& pipeline,
    const gpu::Dispatch& dispatch,
    std::span<const Operand> operands) {
  std::array<const MTL::Buffer*, kMostOperands> buffers;
  std::transform(operands.begin(), operands.end(), buffers.begin(), [&](const Operand& operand) {
    return operand.buffer->is_literal ? nullptr : shared_.memory.find(*operand.buffer);
  });
  AutoreleaseScope scope;
  MTL::ComputeCommandEncoder* encoder = open_encoder();
  if (hazards_.add(operands, dispatch.written)) {
    encoder->memoryBarrier(MTL::BarrierScopeBuffers);
  }
  encoder->setComputePipelineState(pipeline.state.get());
  for (size_t i = 0; i < operands.size(); ++i) {
    if (const Buffer& buffer = *operands[i].buffer; buffer.is_literal) {
      encoder->setBytes(buffer.memory, static_cast<NS::UInteger>(buffer.bytes), i);
    } else {
      encoder->setBuffer(buffers[i], static_cast<NS::UInteger>(operands[i].offset), i);
    }
  }
  encoder->setBytes(dispatch.params.data(), dispatch.params_size, operands.size());
  encoder->dispatchThreadgroups(
      MTL::Size(dispatch.groups[0], dispatch.groups[1], dispatch.groups[2]),
      MTL::Size(dispatch.threads, 1, 1));
  batch_->kernels.push_back(&pipeline.name);
  batch_->threads.insert(std::this_thread::get_id());
}

// The batch keeps its buffers alive.
void MetalEncoder::keep(std::span<const Operand> operands, size_t written) {
  const auto keep_one = [&](Buffer* buffer) {
    return batch_->buffers.try_emplace(buffer, buffer).second;
  };
  for (const Operand& output : operands.last(written)) {
    if (keep_one(output.buffer)) {
      batch_->written += output.buffer->bytes;
    }
  }
  for (const Operand& operand : operands.first(operands.size() - written)) {
    keep_one(operand.buffer);
  }
}

// Waits until the outputs may be written. Work in flight keeps its buffers alive even after the
// plan frees them, so the bytes that it may write are bounded.
void MetalEncoder::make_room(std::span<const Operand> outputs) {
  int64_t bytes = 0;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto is_same = [&](const Operand& other) { return other.buffer == outputs[i].buffer; };
    const bool seen = std::any_of(outputs.begin(), outputs.begin() + i, is_same);
    const bool known = batch_ && batch_->buffers.count(outputs[i].buffer);
    bytes += seen || known ? 0 : outputs[i].buffer->bytes;
  }
  if (bytes == 0) {
    return;
  }
  const int64_t most = shared_.run_ahead - bytes;
  if (batch_ && batch_->written > most) {
    commit();
  }
  shared_.in_flight.wait_for_bytes(work_, most - (batch_ ? batch_->written : 0));
}

Batch& MetalEncoder::open_batch() {
  if (generation_ != fork_generation()) {
    throw std::runtime_error("[metal] a child after fork() cannot use the parent's GPU.");
  }
  if (!batch_) {
    AutoreleaseScope scope;
    batch_ = std::make_shared<Batch>();
    batch_->commands = NS::RetainPtr(queue_->commandBufferWithUnretainedReferences());
    batch_->value = ++last_value_;
  }
  return *batch_;
}

MTL::ComputeCommandEncoder* MetalEncoder::open_encoder() {
  Batch& batch = open_batch();
  if (!encoder_) {
    AutoreleaseScope scope;
    encoder_ = NS::RetainPtr(batch.commands->computeCommandEncoder(MTL::DispatchTypeConcurrent));
    if (fence_updated_) {
      encoder_->waitForFence(fence_.get());
    }
  }
  return encoder_.get();
}

void MetalEncoder::commit() {
  if (!batch_) {
    return;
  }
  AutoreleaseScope scope;
  if (encoder_) {
    encoder_->updateFence(fence_.get());
    fence_updated_ = true;
    encoder_->endEncoding();
    encoder_.reset();
    hazards_.clear();
  }
  const std::shared_ptr<Batch> batch = std::move(batch_);
  batch->commands->encodeSignalEvent(work_.signal.get(), batch->value);
  const MTL::HandlerFunction completed = [this, batch](MTL::CommandBuffer* commands) {
    AutoreleaseScope handler_scope;
    shared_.in_flight.complete(work_, batch, error_of(*commands, *batch));
  };
  batch->commands->addCompletedHandler(completed);
  shared_.in_flight.add(work_, batch);
  batch->commands->commit();
}

void MetalEncoder::record(const EventRef& event) {
  std::lock_guard lock(mutex_);
  commit();
  shared_.in_flight.record(work_, event);
}

void MetalEncoder::wait(const EventRef& event) {
  const auto signal = shared_.in_flight.find(event);
  if (!signal) {
    event->wait(); // of another device, or already over
    return;
  }
  std::lock_guard lock(mutex_);
  if (signal->stream != &work_) {
    if (encoder_) {
      commit(); // earlier work need not wait
    }
    open_batch().commands->encodeWait(signal->stream->signal.get(), signal->value);
  }
  Batch& batch = open_batch();
  batch.waits.push_back(event);
  batch.threads.insert(std::this_thread::get_id());
}

void MetalEncoder::finish() {
  const auto event = std::make_shared<Event>();
  record(event);
  event->wait();
}

void MetalEncoder::wait_idle() {
  {
    std::lock_guard lock(mutex_);
    commit();
  }
  shared_.in_flight.wait_for_all(work_);
}

} // namespace narrows::metal
