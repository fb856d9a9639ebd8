// MetalEncoder: the encoder of one stream. Dispatches go into command buffers, which run behind the
// host.
//
// Dispatches run side by side up to the next barrier. There is a barrier only before a dispatch
// that uses what an earlier one writes, or writes what an earlier one uses. The command buffers of
// a stream run one after the other. A command buffer is committed when it has many operations or
// bytes, or when somebody asks for its end. Buffers stay alive until the command buffers that use
// them have run. The bytes that these may have written, by which memory can exceed the plan's, are
// bounded.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "narrows/backend/gpu/dispatch.h"
#include "narrows/backend/metal/compiler.h"
#include "narrows/backend/metal/device.h"
#include "narrows/backend/metal/hazards.h"
#include "narrows/backend/metal/in_flight.h"
#include "narrows/backend/metal/memory.h"
#include "narrows/runtime/backend.h"

namespace narrows::metal {

// What the encoders of a device share.
struct Shared {
  Device device;
  MetalCompiler compiler;
  gpu::ProgramKernels& programs = *new gpu::ProgramKernels(compiler); // never destroyed
  Memory memory;
  InFlight in_flight;
  std::atomic<int64_t> run_ahead{int64_t{256} << 20};

  explicit Shared(const NS::SharedPtr<MTL::Device>& metal_device)
      : device(metal_device), compiler(device), memory(metal_device.get()) {
  }
};

// Several threads may encode into one stream.
class MetalEncoder final : public Encoder {
 public:
  explicit MetalEncoder(Shared& shared);

  void run(const KernelCall& call) override;
  void run_program(const ProgramCall& call) override;
  void record(const EventRef& event) override;
  void wait(const EventRef& event) override;
  void finish() override;

  // Returns when all that was encoded has run.
  void wait_idle();

 private:
  // The functions below are called under mutex_.
  void dispatch(
      const Device::Pipeline& pipeline,
      const gpu::Dispatch& dispatch,
      std::span<const Operand> operands);
  void encode(
      const Device::Pipeline& pipeline,
      const gpu::Dispatch& dispatch,
      std::span<const Operand> operands);
  void keep(std::span<const Operand> operands, size_t written);
  void make_room(std::span<const Operand> outputs);
  Batch& open_batch();
  MTL::ComputeCommandEncoder* open_encoder();
  void commit();

  Shared& shared_;
  const int generation_; // of the process, see fork.h
  std::mutex mutex_;
  NS::SharedPtr<MTL::CommandQueue> queue_;
  NS::SharedPtr<MTL::Fence> fence_; // between the compute encoders of one queue
  bool fence_updated_ = false;
  StreamWork work_;
  uint64_t last_value_ = 0;

  std::shared_ptr<Batch> batch_; // not yet committed; nullptr if it would be empty
  NS::SharedPtr<MTL::ComputeCommandEncoder> encoder_;
  Hazards hazards_;
};

} // namespace narrows::metal
