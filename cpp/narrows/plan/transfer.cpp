#include "narrows/plan/transfer.h"

#include <mutex>

#include "narrows/record/array.h"
#include "narrows/record/fields.h"
#include "narrows/runtime/allocator.h"

namespace narrows {
namespace {

struct TransferFields {
  std::string to_;

  static constexpr std::tuple fields{field("to", &TransferFields::to_)};
};

class Transfer final : public Record<TransferFields> {
 public:
  using Record::Record;

  const char* name() const override {
    return "transfer";
  }
  void encode(Encoder&, const StepView& step) const override {
    transfer_range(step.inputs[0], step.outputs[0]);
  }
};

bool reaches(const Backend& backend, const Buffer& buffer) {
  return buffer.is_literal || backend.addresses(buffer.source);
}

} // namespace

const Primitive& transfer_primitive(Device::Type to) {
  static const Transfer to_cpu("cpu");
  static const Transfer to_gpu("gpu");
  return to == Device::Type::cpu ? to_cpu : to_gpu;
}

void transfer_range(const ArrayView& input, const ArrayView& output) {
  const int64_t size = size_of(input.dtype);
  const Extent from = extent_of(*input.shape, *input.layout);
  const Extent to = extent_of(*output.shape, *output.layout);
  transfer({input.buffer, from.first * size}, {output.buffer, to.first * size}, from.count * size);
}

Extent extent_of(const Shape& shape, const Layout& layout) {
  const int64_t size = element_count(shape);
  if (layout.dense || size == 0) {
    return {layout.offset, size};
  }
  int64_t first = layout.offset;
  int64_t last = layout.offset;
  for (size_t i = 0; i < shape.size(); ++i) {
    const int64_t reach = (shape[i] - 1) * layout.strides[i];
    (reach < 0 ? first : last) += reach;
  }
  return {first, last - first + 1};
}

bool is_compact(const PlannedValue& value) {
  return extent_of(value.shape(), value.layout).count <= 2 * element_count(value.shape());
}

bool is_within_reach(const Backend& backend, const Output& output) {
  if (element_count(output.shape) == 0) {
    return true;
  }
  if (output.node->status() == Status::ready) {
    return reaches(backend, *output.buffer.get());
  }
  return backend.addresses(&backend_for(output.node->stream().device).memory());
}

BufferRef buffer_at_home(const Output& output) {
  BufferRef buffer;
  {
    std::lock_guard lock(graph_mutex());
    buffer = output.buffer;
  }
  Backend& home = backend_for(output.node->stream().device);
  if (buffer->bytes == 0 || reaches(home, *buffer.get())) {
    return buffer;
  }
  BufferRef copy = allocate(home.memory(), buffer->bytes, "transfer");
  transfer({buffer.get(), 0}, {copy.get(), 0}, buffer->bytes);
  return copy;
}

array array::on_host() const {
  eval();
  if (!has_separate_memories()) {
    return *this;
  }
  BufferRef value;
  {
    std::lock_guard lock(graph_mutex());
    value = buffer();
  }
  const Backend& host = backend_for({Device::Type::cpu, 0});
  Layout place = layout();
  if (size() > 0 && !reaches(host, *value.get())) {
    const Extent extent = extent_of(shape(), place);
    MemorySource& memory = backend_for({Device::Type::cpu, 0}).memory();
    BufferRef copy = allocate(memory, extent.count * itemsize(), "transfer");
    transfer({value.get(), extent.first * itemsize()}, {copy.get(), 0}, extent.count * itemsize());
    place.offset -= extent.first;
    value = std::move(copy);
  }
  return array(shape(), dtype(), std::move(value), std::move(place), stream());
}

} // namespace narrows
