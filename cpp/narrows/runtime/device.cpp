#include "narrows/runtime/device.h"

#include <array>
#include <atomic>
#include <mutex>
#include <vector>

#include "narrows/core/errors.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/backend.h"
#include "narrows/runtime/registry.h"
#include "narrows/runtime/wait.h"
#include "narrows/runtime/worker.h"

namespace narrows {
namespace {

constexpr size_t kTypes = 2;

struct Devices {
  std::array<std::atomic<Backend*>, kTypes> backends{};
  std::atomic<Device::Type> default_type{Device::Type::cpu};
  std::array<std::atomic<int>, kTypes> default_streams{0, 1};
  std::mutex mutex;
  std::vector<Stream> streams{{{Device::Type::cpu, 0}, 0}, {{Device::Type::gpu, 0}, 1}};
};

void wait_for_work();

// Never destroyed: worker threads may outlive static objects.
Devices& devices() {
  static Devices* instance = [] {
    auto* created = new Devices;
    for (size_t i = 0; i < kTypes; ++i) {
      Backend* backend = make_backend(static_cast<Device::Type>(i));
      created->backends[i] = backend;
      if (backend && backend->is_preferred()) {
        created->default_type = static_cast<Device::Type>(i);
      }
    }
    set_wait_for_work(wait_for_work);
    return created;
  }();
  return *instance;
}

// Waits until work in flight has returned its memory.
//
// This wait cannot end in a circle, although this thread's own evaluation may hold what others wait
// for:
// - It waits for a worker only while that worker runs. A worker shows when it waits itself
// (wait.h), and is then left alone. A worker that runs needs nothing of this thread: memory is
// allocated under no lock of the library, workers do not take the interpreter's lock, and they do
// not call this function.
// - It waits for a device, which runs what was submitted without any thread.
// Work that is submitted to workers meanwhile is not waited for, so the wait ends.
void wait_for_work() {
  const HostLockKept kept; // lists that are being converted, say
  const RunningWorkers workers;
  do {
    workers.wait();
    for (auto& backend : devices().backends) {
      if (Backend* present = backend.load(std::memory_order_acquire)) {
        present->wait_idle();
      }
    }
  } while (workers.any()); // they may have waited for a device
}

thread_local std::optional<Stream> scope_stream;

size_t index_of(Device::Type type) {
  return static_cast<size_t>(type);
}

void require_available(const char* op, Device device) {
  if (!is_available(device)) {
    fail<ValueError>("[", op, "] ", to_string(device), " is not available on this machine.");
  }
}

} // namespace

std::string to_string(Device device) {
  return concat_message(
      "Device(", device.type == Device::Type::cpu ? "cpu" : "gpu", ", ", device.index, ")");
}

std::string to_string(Stream stream) {
  return concat_message("Stream(", to_string(stream.device), ", ", stream.index, ")");
}

Backend& backend_for(Device device) {
  Backend* backend = devices().backends[index_of(device.type)].load(std::memory_order_acquire);
  if (!backend || device.index != 0) {
    fail<ValueError>("[device] ", to_string(device), " is not available on this machine.");
  }
  return *backend;
}

bool has_separate_memories() {
  Backend* cpu = devices().backends[index_of(Device::Type::cpu)].load(std::memory_order_acquire);
  Backend* gpu = devices().backends[index_of(Device::Type::gpu)].load(std::memory_order_acquire);
  return cpu && gpu && !(cpu->addresses(&gpu->memory()) && gpu->addresses(&cpu->memory()));
}

void transfer(Operand from, Operand to, int64_t bytes) {
  const auto address = [](Operand operand) {
    return static_cast<std::byte*>(operand.buffer->memory) + operand.offset;
  };
  MemorySource* source = from.buffer->source;
  MemorySource* target = to.buffer->source;
  if (bytes == 0) {
    return;
  }
  if (source && !source->host_visible()) {
    source->read(address(from), address(to), bytes);
  } else if (target) {
    target->write(address(from), address(to), bytes);
  }
}

Backend* set_backend(Device::Type type, Backend* backend) {
  return devices().backends[index_of(type)].exchange(backend);
}

bool is_available(Device device) {
  return device.index == 0 && devices().backends[index_of(device.type)].load() != nullptr;
}

int device_count(Device::Type type) {
  return is_available({type, 0}) ? 1 : 0;
}

StreamScope::StreamScope(Stream stream) : previous_(scope_stream) {
  require_available("stream", stream.device);
  scope_stream = stream;
}

StreamScope::~StreamScope() {
  scope_stream = previous_;
}

Device default_device() {
  if (scope_stream) {
    return scope_stream->device;
  }
  return {devices().default_type.load(), 0};
}

MemorySource& default_memory() {
  return backend_for(default_device()).memory();
}

void set_default_device(Device device) {
  require_available("set_default_device", device);
  devices().default_type = device.type;
}

Stream default_stream(Device device) {
  if (scope_stream && scope_stream->device == device) {
    return *scope_stream;
  }
  require_available("default_stream", device);
  return {device, devices().default_streams[index_of(device.type)].load()};
}

void set_default_stream(Stream stream) {
  require_available("set_default_stream", stream.device);
  devices().default_streams[index_of(stream.device.type)] = stream.index;
}

Stream new_stream(Device device) {
  require_available("new_stream", device);
  Devices& all = devices();
  std::lock_guard lock(all.mutex);
  const Stream stream{device, static_cast<int>(all.streams.size())};
  all.streams.push_back(stream);
  return stream;
}

void synchronize(Stream stream) {
  worker_for(stream).drain();
  backend_for(stream.device).encoder(stream).finish();
}

void synchronize() {
  drain_all_workers();
  Devices& all = devices();
  std::unique_lock lock(all.mutex);
  const std::vector<Stream> streams = all.streams;
  lock.unlock();
  for (const Stream& stream : streams) {
    if (is_available(stream.device)) {
      backend_for(stream.device).encoder(stream).finish();
    }
  }
}

} // namespace narrows
