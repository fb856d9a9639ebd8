// The part of metal-cpp's Metal that the Metal backend uses: the same names and signatures.
#pragma once

#include <Foundation/Foundation.hpp>

#include <functional>
#include <memory>

namespace fake_metal {
struct CommandBufferState;
struct EncoderState;
struct KernelState;
struct LibraryState;
struct QueueState;
struct SignalState;
struct Storage;
} // namespace fake_metal

namespace MTL {

struct Size {
  Size(NS::UInteger w, NS::UInteger h, NS::UInteger d) : width(w), height(h), depth(d) {
  }
  NS::UInteger width, height, depth;
};

using ResourceOptions = NS::UInteger;
enum : ResourceOptions {
  ResourceStorageModeShared = 0,
  ResourceHazardTrackingModeUntracked = 256,
};
using BarrierScope = NS::UInteger;
enum : BarrierScope { BarrierScopeBuffers = 1 };
enum DispatchType : NS::UInteger { DispatchTypeSerial = 0, DispatchTypeConcurrent = 1 };
enum CommandBufferStatus : NS::UInteger {
  CommandBufferStatusNotEnqueued = 0,
  CommandBufferStatusEnqueued = 1,
  CommandBufferStatusCommitted = 2,
  CommandBufferStatusScheduled = 3,
  CommandBufferStatusCompleted = 4,
  CommandBufferStatusError = 5,
};

enum LanguageVersion : NS::UInteger { LanguageVersion3_0 = 196608, LanguageVersion3_1 = 196609 };

class CompileOptions : public NS::Copying<CompileOptions> {
 public:
  static CompileOptions* alloc();
  CompileOptions* init();
  void setFastMathEnabled(bool fastMathEnabled);
  void setLanguageVersion(LanguageVersion languageVersion);

  bool fake_fast_math = true;
  LanguageVersion fake_version = LanguageVersion3_0;
};

class Architecture : public NS::Copying<Architecture> {
 public:
  NS::String* name() const;
};

class Fence : public NS::Referencing<Fence> {
 public:
  uint64_t fake_updated = 0; // by the encoder of this number
};

class Event : public NS::Referencing<Event> {};
class SharedEvent : public NS::Referencing<SharedEvent, Event> {
 public:
  SharedEvent();
  uint64_t signaledValue() const;
  void setSignaledValue(uint64_t value);

  std::shared_ptr<fake_metal::SignalState> fake_state;
};

class Resource : public NS::Referencing<Resource> {};
class Buffer : public NS::Referencing<Buffer, Resource> {
 public:
  NS::UInteger length() const;
  void* contents();

  std::shared_ptr<fake_metal::Storage> fake_storage;

 protected:
  ~Buffer() override;
};

class Function : public NS::Referencing<Function> {
 public:
  std::shared_ptr<fake_metal::KernelState> fake_kernel;
};
class Library : public NS::Referencing<Library> {
 public:
  NS::Array* functionNames() const;
  Function* newFunction(const NS::String* functionName);

  std::shared_ptr<fake_metal::LibraryState> fake_compiled; // none: the library of all kernels
};
class ComputePipelineState : public NS::Referencing<ComputePipelineState> {
 public:
  NS::UInteger maxTotalThreadsPerThreadgroup() const;

  std::shared_ptr<fake_metal::KernelState> fake_kernel;
};

class CommandEncoder : public NS::Referencing<CommandEncoder> {
 public:
  void endEncoding();

  std::shared_ptr<fake_metal::EncoderState> fake_state;

 protected:
  ~CommandEncoder() override;
};
class ComputeCommandEncoder : public NS::Referencing<ComputeCommandEncoder, CommandEncoder> {
 public:
  void setComputePipelineState(const ComputePipelineState* state);
  void setBytes(const void* bytes, NS::UInteger length, NS::UInteger index);
  void setBuffer(const Buffer* buffer, NS::UInteger offset, NS::UInteger index);
  void dispatchThreadgroups(Size threadgroupsPerGrid, Size threadsPerThreadgroup);
  void updateFence(const Fence* fence);
  void waitForFence(const Fence* fence);
  void memoryBarrier(BarrierScope scope);
};

class CommandBuffer;
using HandlerFunction = std::function<void(CommandBuffer*)>;

class CommandBuffer : public NS::Referencing<CommandBuffer> {
 public:
  void addCompletedHandler(const HandlerFunction& function);
  void commit();
  CommandBufferStatus status() const;
  NS::Error* error() const;
  ComputeCommandEncoder* computeCommandEncoder(DispatchType dispatchType);
  void encodeWait(const Event* event, uint64_t value);
  void encodeSignalEvent(const Event* event, uint64_t value);

  std::shared_ptr<fake_metal::CommandBufferState> fake_state;
};

class CommandQueue : public NS::Referencing<CommandQueue> {
 public:
  CommandBuffer* commandBuffer();
  CommandBuffer* commandBufferWithUnretainedReferences();

  std::shared_ptr<fake_metal::QueueState> fake_state;

 protected:
  ~CommandQueue() override;
};

class Device : public NS::Referencing<Device> {
 public:
  NS::String* name() const;
  Architecture* architecture() const;
  CommandQueue* newCommandQueue();
  Buffer* newBuffer(NS::UInteger length, ResourceOptions options);
  Library* newLibrary(const NS::URL* url, NS::Error** error);
  Library* newLibrary(const NS::String* source, const CompileOptions* options, NS::Error** error);
  ComputePipelineState* newComputePipelineState(const Function* computeFunction, NS::Error** error);
  Fence* newFence();
  SharedEvent* newSharedEvent();
  NS::UInteger maxBufferLength() const;
  uint64_t recommendedMaxWorkingSetSize() const;
};

Device* CreateSystemDefaultDevice();

} // namespace MTL
