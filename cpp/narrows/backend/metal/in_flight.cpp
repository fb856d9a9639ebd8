#include "narrows/backend/metal/in_flight.h"

#include <algorithm>

#include "narrows/runtime/wait.h"

namespace narrows::metal {
namespace {

bool is_done(const EventRef& event) {
  return event->done();
}

std::exception_ptr error_of(Event& event) {
  try {
    event.wait();
    return nullptr;
  } catch (...) {
    return std::current_exception();
  }
}

} // namespace

void InFlight::add(StreamWork& stream, std::shared_ptr<Batch> batch) {
  std::lock_guard lock(mutex_);
  stream.written += batch->written;
  stream.batches.push_back(std::move(batch));
  streams_.insert(&stream);
}

void InFlight::complete(
    StreamWork& stream, const std::shared_ptr<Batch>& batch, std::exception_ptr error) {
  std::lock_guard lock(mutex_);
  if (error) {
    // The device may not have reached the signal yet, and others wait for it.
    stream.signal->setSignaledValue(std::max(stream.signal->signaledValue(), batch->value));
  }
  batch->completed = true;
  batch->error = std::move(error);
  while (retire_one()) {
  }
  notify_waits();
}

// A batch ends behind those before it on its stream, and after it is known whether the events that
// it waits for are set or failed. The device reports command buffers one by one, in any order.
bool InFlight::retire_one() {
  for (StreamWork* stream : streams_) {
    const std::shared_ptr<Batch> batch = stream->batches.front();
    if (!batch->completed || !std::all_of(batch->waits.begin(), batch->waits.end(), is_done)) {
      continue;
    }
    retire(*stream, *batch);
    return true;
  }
  return false;
}

void InFlight::retire(StreamWork& stream, Batch& batch) {
  for (const EventRef& event : batch.waits) {
    if (!batch.error) {
      batch.error = error_of(*event);
    }
  }
  if (batch.error) {
    for (const std::thread::id thread : batch.threads) {
      stream.errors.try_emplace(thread, batch.error);
    }
  }
  // Memory is returned before anyone learns that the work is done.
  batch.buffers.clear();
  stream.written -= batch.written;
  for (const Batch::Recorded& recorded : batch.events) {
    finish(stream, recorded);
  }
  stream.batches.pop_front();
  if (stream.batches.empty()) {
    streams_.erase(&stream);
  }
}

void InFlight::finish(StreamWork& stream, const Batch::Recorded& recorded) {
  signals_.erase(recorded.event.get());
  const auto error = stream.errors.extract(recorded.thread);
  if (error) {
    recorded.event->fail(error.mapped());
  } else {
    recorded.event->set();
  }
}

void InFlight::record(StreamWork& stream, const EventRef& event) {
  std::lock_guard lock(mutex_);
  const Batch::Recorded recorded{event, std::this_thread::get_id()};
  if (stream.batches.empty()) {
    finish(stream, recorded);
    return;
  }
  Batch& last = *stream.batches.back();
  last.events.push_back(recorded);
  signals_[event.get()] = {&stream, last.value};
}

std::optional<InFlight::Signal> InFlight::find(const EventRef& event) {
  std::lock_guard lock(mutex_);
  const auto found = signals_.find(event.get());
  return found == signals_.end() ? std::nullopt : std::optional(found->second);
}

void InFlight::wait_for_bytes(StreamWork& stream, int64_t most) {
  wait_until([&] {
    std::lock_guard lock(mutex_);
    return stream.written <= most || stream.batches.empty();
  });
}

void InFlight::wait_for_all(StreamWork& stream) {
  std::shared_ptr<Batch> last; // batches that are committed meanwhile are not waited for
  {
    std::lock_guard lock(mutex_);
    if (stream.batches.empty()) {
      return;
    }
    last = stream.batches.back();
  }
  wait_until([&] {
    std::lock_guard lock(mutex_);
    return stream.batches.empty() || stream.batches.front()->value > last->value;
  });
}

} // namespace narrows::metal
