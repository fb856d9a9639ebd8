// Queues, command buffers and encoders: they are checked while they are encoded, and run on
// threads.
#include <algorithm>

#include "state.h"

namespace fake_metal {
namespace {

constexpr NS::UInteger kMostBufferIndex = 30;
constexpr NS::UInteger kMostBytes = 4096;

// Whether this command buffer is the one that a test wants to fail.
bool fails_as_asked(const std::string& kernel) {
  std::lock_guard lock(world().mutex);
  if (!world().failing || kernel.find(*world().failing) == std::string::npos) {
    return false;
  }
  world().failing.reset();
  return true;
}

void run(Operation& operation) {
  if (fails_as_asked(operation.kernel->name)) {
    throw std::runtime_error("a failure that was asked for");
  }
  std::vector<narrows::emulated::Binding> bindings;
  for (Bound& bound : operation.bound) {
    if (!bound.storage) {
      bindings.push_back({bound.bytes.data(), static_cast<int64_t>(bound.bytes.size())});
      continue;
    }
    if (!bound.storage->alive) {
      note(operation.kernel->name + " ran with a buffer that had been released");
    }
    bindings.push_back(
        {bound.storage->memory + bound.offset,
         static_cast<int64_t>(bound.storage->length - bound.offset)});
  }
  narrows::emulated::run({operation.kernel, bindings, operation.groups, operation.threads});
}

// Between two barriers, concurrent dispatches run from the last to the first.
void run(EncoderState& encoder) {
  auto begin = encoder.operations.begin();
  while (begin != encoder.operations.end()) {
    const auto end = std::find_if(begin, encoder.operations.end(), [](const Operation& operation) {
      return !operation.kernel;
    });
    if (encoder.concurrent) {
      std::reverse(begin, end);
    }
    for (; begin != end; ++begin) {
      run(*begin);
    }
    if (end != encoder.operations.end()) {
      ++begin;
    }
  }
}

void run(const Step& step) {
  if (step.encoder) {
    run(*step.encoder);
    return;
  }
  std::unique_lock lock(step.signal->mutex);
  if (step.waits) {
    step.signal->changed.wait(lock, [&] { return step.signal->value >= step.value; });
    return;
  }
  step.signal->value = std::max(step.signal->value, step.value);
  step.signal->changed.notify_all();
}

void run(MTL::CommandBuffer& commands) {
  CommandBufferState& state = *commands.fake_state;
  std::string error;
  try {
    for (const Step& step : state.steps) {
      run(step);
    }
  } catch (const std::exception& thrown) {
    error = thrown.what(); // later commands, signals too, are dropped
  }
  {
    std::lock_guard lock(state.mutex);
    state.error = error;
    state.status =
        error.empty() ? MTL::CommandBufferStatusCompleted : MTL::CommandBufferStatusError;
  }
  for (const MTL::HandlerFunction& handler : std::exchange(state.handlers, {})) {
    handler(&commands);
  }
  state.steps.clear();
}

} // namespace

void run_queue(QueueState& queue) {
  for (;;) {
    MTL::CommandBuffer* commands;
    {
      std::unique_lock lock(queue.mutex);
      queue.changed.wait(lock, [&] { return queue.stop || !queue.work.empty(); });
      if (queue.work.empty()) {
        return;
      }
      commands = queue.work.front();
      queue.work.pop_front();
    }
    {
      std::unique_lock lock(world().mutex);
      world().changed.wait(lock, [] { return world().pauses == 0; });
    }
    run(*commands);
    commands->release();
  }
}

} // namespace fake_metal

namespace MTL {

using namespace fake_metal;

namespace {

CommandBuffer* new_command_buffer(const std::shared_ptr<QueueState>& queue, bool retains) {
  auto* commands = new CommandBuffer;
  commands->fake_state = std::make_shared<CommandBufferState>();
  commands->fake_state->queue = queue;
  commands->fake_state->retains = retains;
  return commands->autorelease();
}

// The state of a command buffer that may still be encoded into.
CommandBufferState& encodable(CommandBuffer& commands) {
  CommandBufferState& state = *commands.fake_state;
  if (commands.status() != CommandBufferStatusNotEnqueued) {
    fake_metal::fail("a committed command buffer was encoded into");
  }
  for (const Step& step : state.steps) {
    if (step.encoder && step.encoder->open) {
      fake_metal::fail("a command buffer has an encoder that was not ended");
    }
  }
  return state;
}

EncoderState& usable(const std::shared_ptr<EncoderState>& state) {
  if (!state->open) {
    fake_metal::fail("an encoder was used after its end");
  }
  return *state;
}

// Notes that a dispatch uses a storage. No conflicting dispatch may run beside it.
void check_conflicts(
    EncoderState& encoder, const std::string& kernel, const Storage& storage, bool writes) {
  const auto before = encoder.since_barrier.find(storage.id);
  if (encoder.concurrent && before != encoder.since_barrier.end() && (writes || before->second)) {
    fake_metal::fail(kernel + " conflicts with an earlier dispatch: there is no barrier between");
  }
  QueueState& queue = *encoder.queue;
  std::lock_guard lock(queue.mutex);
  const QueueState::Use& use = queue.uses[storage.id];
  const auto is_ordered = [&](uint64_t number) {
    return number == encoder.number || number <= encoder.covered;
  };
  if (!is_ordered(use.written) || (writes && !is_ordered(use.read))) {
    fake_metal::fail(kernel + " conflicts with an earlier encoder: there is no fence between");
  }
}

void note_use(EncoderState& encoder, const Storage& storage, bool writes) {
  encoder.since_barrier[storage.id] |= writes;
  std::lock_guard lock(encoder.queue->mutex);
  QueueState::Use& use = encoder.queue->uses[storage.id];
  (writes ? use.written : use.read) = encoder.number;
}

// The bindings of the kernel's parameters, in order.
std::vector<Bound> take_bound(const EncoderState& encoder) {
  std::vector<Bound> result;
  for (const metal_emu::Parameter& parameter : encoder.kernel->parameters) {
    const auto found = encoder.bound.find(static_cast<NS::UInteger>(parameter.index));
    if (found == encoder.bound.end()) {
      fake_metal::fail(
          encoder.kernel->name + ": buffer " + std::to_string(parameter.index) + " is not bound");
    }
    result.resize(std::max(result.size(), found->first + 1));
    result[found->first] = found->second;
  }
  return result;
}

} // namespace

CommandQueue* Device::newCommandQueue() {
  auto* queue = new CommandQueue;
  queue->fake_state = std::make_shared<QueueState>();
  queue->fake_state->thread = std::thread([state = queue->fake_state] { run_queue(*state); });
  return queue;
}

CommandQueue::~CommandQueue() {
  {
    std::lock_guard lock(fake_state->mutex);
    fake_state->stop = true;
  }
  fake_state->changed.notify_all();
  fake_state->thread.join();
}

CommandBuffer* CommandQueue::commandBuffer() {
  return new_command_buffer(fake_state, true);
}

CommandBuffer* CommandQueue::commandBufferWithUnretainedReferences() {
  return new_command_buffer(fake_state, false);
}

void CommandBuffer::addCompletedHandler(const HandlerFunction& function) {
  if (status() != CommandBufferStatusNotEnqueued) {
    fake_metal::fail("a handler was added to a committed command buffer");
  }
  fake_state->handlers.push_back(function);
}

void CommandBuffer::commit() {
  CommandBufferState& state = encodable(*this);
  {
    std::lock_guard lock(state.mutex);
    state.status = CommandBufferStatusCommitted;
  }
  {
    std::lock_guard lock(world().mutex);
    ++world().counts.command_buffers;
  }
  QueueState& queue = *state.queue;
  std::lock_guard lock(queue.mutex);
  queue.work.push_back(retain());
  queue.changed.notify_all();
}

CommandBufferStatus CommandBuffer::status() const {
  std::lock_guard lock(fake_state->mutex);
  return fake_state->status;
}

NS::Error* CommandBuffer::error() const {
  std::lock_guard lock(fake_state->mutex);
  if (fake_state->error.empty()) {
    return nullptr;
  }
  auto* error = new NS::Error;
  error->fake_text = fake_state->error;
  return error->autorelease();
}

ComputeCommandEncoder* CommandBuffer::computeCommandEncoder(DispatchType dispatchType) {
  CommandBufferState& state = encodable(*this);
  auto* encoder = new ComputeCommandEncoder;
  encoder->fake_state = std::make_shared<EncoderState>();
  encoder->fake_state->queue = state.queue.get();
  encoder->fake_state->concurrent = dispatchType == DispatchTypeConcurrent;
  encoder->fake_state->retains = state.retains;
  {
    std::lock_guard lock(state.queue->mutex);
    encoder->fake_state->number = ++state.queue->encoders;
  }
  state.steps.push_back({encoder->fake_state, nullptr, 0, false});
  return static_cast<ComputeCommandEncoder*>(encoder->autorelease());
}

void CommandBuffer::encodeWait(const Event* event, uint64_t value) {
  const auto& signal = static_cast<const SharedEvent*>(event)->fake_state;
  encodable(*this).steps.push_back({nullptr, signal, value, true});
  std::lock_guard lock(world().mutex);
  ++world().counts.event_waits;
}

void CommandBuffer::encodeSignalEvent(const Event* event, uint64_t value) {
  const auto& signal = static_cast<const SharedEvent*>(event)->fake_state;
  encodable(*this).steps.push_back({nullptr, signal, value, false});
}

CommandEncoder::~CommandEncoder() {
  if (fake_state->open) {
    note("an encoder was released before its end");
  }
}

void CommandEncoder::endEncoding() {
  usable(fake_state).open = false;
}

void ComputeCommandEncoder::setComputePipelineState(const ComputePipelineState* state) {
  usable(fake_state).kernel = state->fake_kernel->kernel;
  fake_state->was_compiled = state->fake_kernel->was_compiled;
}

void ComputeCommandEncoder::setBytes(const void* bytes, NS::UInteger length, NS::UInteger index) {
  EncoderState& state = usable(fake_state);
  if (length == 0 || length > kMostBytes || index > kMostBufferIndex) {
    fake_metal::fail(
        "setBytes of " + std::to_string(length) + " bytes at " + std::to_string(index));
  }
  const auto* first = static_cast<const std::byte*>(bytes);
  state.bound[index] = {nullptr, 0, {first, first + length}, {}};
}

void ComputeCommandEncoder::setBuffer(
    const Buffer* buffer, NS::UInteger offset, NS::UInteger index) {
  EncoderState& state = usable(fake_state);
  if (!buffer || offset >= buffer->length() || index > kMostBufferIndex) {
    fake_metal::fail(
        "setBuffer with offset " + std::to_string(offset) + " at " + std::to_string(index));
  }
  Bound& bound = state.bound[index];
  bound = {buffer->fake_storage, offset, {}, {}};
  if (state.retains) {
    bound.retained = NS::RetainPtr(const_cast<Buffer*>(buffer));
  }
}

void ComputeCommandEncoder::dispatchThreadgroups(
    Size threadgroupsPerGrid, Size threadsPerThreadgroup) {
  EncoderState& state = usable(fake_state);
  const NS::UInteger threads =
      threadsPerThreadgroup.width * threadsPerThreadgroup.height * threadsPerThreadgroup.depth;
  const Size& groups = threadgroupsPerGrid;
  if (!state.kernel) {
    fake_metal::fail("a dispatch has no pipeline");
  }
  if (threads == 0 || threads > 1024 || groups.width * groups.height * groups.depth == 0) {
    fake_metal::fail(state.kernel->name + ": an empty grid, or too many threads in a group");
  }
  Operation operation;
  operation.kernel = state.kernel;
  operation.bound = take_bound(state);
  operation.groups = {
      static_cast<uint32_t>(groups.width),
      static_cast<uint32_t>(groups.height),
      static_cast<uint32_t>(groups.depth)};
  operation.threads = static_cast<uint32_t>(threads);
  for (const bool adds : {false, true}) {
    for (const metal_emu::Parameter& parameter : state.kernel->parameters) {
      const Bound& bound = operation.bound[static_cast<size_t>(parameter.index)];
      if (bound.storage && adds) {
        note_use(state, *bound.storage, parameter.written);
      } else if (bound.storage) {
        check_conflicts(state, state.kernel->name, *bound.storage, parameter.written);
      }
    }
  }
  state.operations.push_back(std::move(operation));
  std::lock_guard lock(world().mutex);
  ++world().counts.dispatches;
  world().counts.dispatches_of_compiled_kernels += state.was_compiled;
}

void ComputeCommandEncoder::memoryBarrier(BarrierScope) {
  EncoderState& state = usable(fake_state);
  state.since_barrier.clear();
  state.operations.emplace_back();
  std::lock_guard lock(world().mutex);
  ++world().counts.barriers;
}

void ComputeCommandEncoder::updateFence(const Fence* fence) {
  const_cast<Fence*>(fence)->fake_updated = usable(fake_state).number;
}

void ComputeCommandEncoder::waitForFence(const Fence* fence) {
  EncoderState& state = usable(fake_state);
  state.covered = std::max(state.covered, fence->fake_updated);
}

} // namespace MTL
