#include "narrows/run/evaluate.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>

#include "narrows/fuse/settings.h"
#include "narrows/observe/profile.h"
#include "narrows/order/rates.h"
#include "narrows/order/search.h"
#include "narrows/plan/run_event.h"
#include "narrows/plan/transfer.h"
#include "narrows/record/primitive.h"
#include "narrows/run/kept_plans.h"
#include "narrows/run/step.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/tf32.h"
#include "narrows/runtime/wait.h"
#include "narrows/runtime/worker.h"

namespace narrows {
namespace {

// How far a stream has come with its steps of a plan. Only plans of several streams use it.
class Progress {
 public:
  void reached(uint32_t step) {
    done_.store(static_cast<int64_t>(step) + 1, std::memory_order_release);
    notify_waits();
  }
  void stop() {
    reached(kNone);
  }
  // Returns when the step has run or never will. Interruptible.
  void wait_for(uint32_t step) const {
    wait_until([&] { return done_.load(std::memory_order_acquire) > step; });
  }

 private:
  std::atomic<int64_t> done_{0};
};

// A plan being run.
struct Run {
  Plan plan;
  Tape tape;                       // storage only, reused between runs
  std::vector<BufferRef> buffers;  // of the plan, while they are alive
  std::vector<uint32_t> awaited;   // values whose buffers come when other evaluations have ended
  std::shared_ptr<RunEvent> event; // set when the whole plan has run
  bool tf32 = true;                // as the thread that evaluates has it

  // Of plans with devices whose arrays are ready by events.
  bool by_event = false;
  std::vector<EventRef> step_events; // by step, of those that other streams wait for
  std::vector<array> unfinished;     // encoded, and ready once it has run; under mutex
  std::atomic<bool> device_failed{false};

  // Of asynchronous runs.
  std::vector<array> computed; // of nodes without edges, until it has run
  std::vector<array> kept;     // what the plan uses besides, until then
  std::vector<std::shared_ptr<const Primitive>> primitives; // of the steps
  std::deque<Progress> progress;                            // by stream
  std::atomic<size_t> streams_left{0};
  std::once_flag inputs_taken;
  std::mutex mutex; // of error and unfinished
  std::exception_ptr error;
  std::atomic<bool> failed{false};
};

// Tells the event which arrays will have a buffer of their own when the plan has run.
void note_owners(const Plan& plan, RunEvent& event) {
  std::vector<uint32_t> holders(plan.buffers.size(), 0);
  for (const PlannedValue& value : plan.values) {
    holders[value.buffer] += value.held ? 1 : 0;
  }
  for (const PlannedValue& value : plan.values) {
    const int64_t bytes = plan.buffers[value.buffer].bytes;
    if (value.held && value.producer != kNone && holders[value.buffer] == 1 && bytes > 0) {
      event.will_own_buffer(*value.output, bytes);
    }
  }
}

// Makes an asynchronous run hold what its plan needs of the graph. Such a run never gives nodes
// back, so they can release their edges. Then evaluations that are planned meanwhile see who else
// holds an array.
void hold_values(Run& run) {
  const Plan& plan = run.plan;
  run.kept.reserve(plan.values.size());
  run.computed.reserve(plan.values.size());
  run.primitives.reserve(plan.steps.size());
  for (size_t i = 0; i < plan.input_count; ++i) {
    run.kept.emplace_back(plan.values[i].output);
  }
  for (const Step& step : plan.steps) {
    if (step.node) {
      run.primitives.push_back(step.node->primitive_ref());
      for (const uint32_t id : plan.outputs_of(step)) {
        Output* output = plan.values[id].output;
        (plan.keeps(*output->node) ? run.kept : run.computed).emplace_back(output);
      }
    }
  }
}

void release_edges(const Run& run) {
  for (const Step& step : run.plan.steps) {
    if (step.node) {
      for_each_node(run.plan, step, [&](Node& node) {
        if (!run.plan.keeps(node)) {
          node.detach();
        }
      });
    }
  }
}

// Makes the nodes of the plan this run's: from here on other evaluations treat them as inputs
// that are being computed. Under graph_mutex(). Inputs that die within the plan hand their
// buffers over to the run. What can fail comes first: who fails has taken nothing.
void take(Run& run) {
  Plan& plan = run.plan;
  run.event = std::make_shared<RunEvent>();
  if (!run.primitives.empty()) {
    note_owners(plan, *run.event);
  }
  run.buffers.resize(plan.buffers.size());
  run.awaited.clear();
  run.awaited.reserve(plan.input_count);
  for (const Step& step : plan.steps) {
    for (uint32_t id : step.node ? plan.outputs_of(step) : std::span<const uint32_t>()) {
      plan.values[id].output->layout = plan.values[id].layout;
    }
  }
  for (uint32_t i = 0; i < plan.input_count; ++i) {
    PlannedValue& value = plan.values[i];
    if (value.awaited || value.output->node->status() != Status::ready) {
      run.awaited.push_back(i);
      continue;
    }
    run.buffers[value.buffer] = value.output->buffer;
    if (!value.held) {
      value.output->buffer.reset();
    }
  }
  for (const Step& step : plan.steps) {
    if (!step.node) {
      continue;
    }
    for_each_node(plan, step, [&](Node& node) {
      node.event = run.event;
      node.set_status(Status::scheduled);
    });
  }
}

// The status that encoded nodes get when their streams have been waited for.
Status finished_status(const Run& run) {
  return run.device_failed ? Status::failed : Status::ready;
}

// Whether the inner plan of a step has used up inputs before it failed.
bool lost_inputs(const Run& run, const Step& step) {
  const std::span<const uint32_t> inputs = run.plan.inputs_of(step);
  return step.subplan != kNone && std::any_of(inputs.begin(), inputs.end(), [&](uint32_t id) {
           return !run.buffers[run.plan.values[id].buffer];
         });
}

// Makes nodes lazy again whose step did not run, with the values that they need.
void give_back(Run& run, size_t first_step) {
  Plan& plan = run.plan;
  std::lock_guard lock(graph_mutex());
  for (size_t i = first_step; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    for (uint32_t id : plan.inputs_of(step)) {
      const PlannedValue& value = plan.values[id];
      Node& node = *value.output->node;
      if (value.producer < first_step && node.status() == Status::scheduled) {
        node.set_status(finished_status(run));
      }
      // If a copy has taken the place of the value, the value lies as the copy does.
      if (node.status() == Status::ready && !value.output->buffer && run.buffers[value.buffer]) {
        value.output->layout = value.layout;
        node.commit(value.output->index, run.buffers[value.buffer]);
      }
    }
    if (step.node && i == first_step && lost_inputs(run, step)) {
      step.node->set_status(Status::failed); // at every wait for the run's event
    } else if (step.node) {
      for_each_node(plan, step, [](Node& node) {
        node.event.reset();
        node.set_status(Status::lazy);
      });
    }
  }
}

// Waits for inputs that other evaluations compute. Raises their errors.
void await_inputs(const Run& run) {
  for (const EventRef& event : run.plan.awaited) {
    event->wait();
  }
}

// Takes their buffers, once they are computed. Those that die within the plan become the run's.
void take_awaited(Run& run) {
  for (uint32_t i : run.awaited) {
    const PlannedValue& value = run.plan.values[i];
    run.buffers[value.buffer] = buffer_at_home(*value.output);
    if (!value.held) {
      std::lock_guard lock(graph_mutex());
      value.output->buffer.reset();
    }
  }
}

// Makes the step wait for steps of other streams, which have been encoded by now.
void wait_for_streams(Run& run, const Step& step) {
  for (uint32_t w = 0; w < step.waits.count; ++w) {
    const StepWait& wait = run.plan.waited[step.waits.first + w];
    step.backend->encoder(step.stream).wait(run.step_events[wait.step]);
  }
}

void run_step(Run& run, const Step& step) {
  if (run.step_events.empty()) {
    encode_step(run.plan, run.buffers, step);
    return;
  }
  wait_for_streams(run, step);
  encode_step(run.plan, run.buffers, step);
  const EventRef& event = run.step_events[&step - run.plan.steps.data()];
  if (event) {
    step.backend->encoder(step.stream).record(event);
  }
}

// Follows a step that has run or is encoded: gives its values to their nodes and frees what died.
void retire_step(Run& run, Step& step) {
  const Plan& plan = run.plan;
  const bool by_event = run.by_event && step.backend->ready_by_event();
  if (step.node) {
    for (uint32_t id : plan.outputs_of(step)) {
      const PlannedValue& value = plan.values[id];
      if (value.held) {
        value.output->node->commit(value.output->index, run.buffers[value.buffer]);
        if (by_event) {
          std::lock_guard lock(run.mutex);
          run.unfinished.emplace_back(value.output);
        }
      }
    }
    // Other threads may see that the node is ready only when its inputs are gone, or stay for good.
    for_each_node(plan, step, [&](Node& node) {
      if (plan.keeps(node)) {
        node.keep_inputs();
      } else {
        node.detach();
      }
      if (!by_event) {
        node.set_status(Status::ready);
      }
    });
    step.node = nullptr; // it may be destroyed with the step that read it
  }
  if (step.moves) {
    const PlannedValue& copy = plan.values[plan.outputs_of(step)[0]];
    std::lock_guard lock(graph_mutex());
    copy.output->node->commit(copy.output->index, run.buffers[copy.buffer]);
  }
  free_dead(plan, run.buffers, step);
}

// Runs a step from its start to its end.
void perform(Run& run, Step& step) {
  StepTimer timer(run.plan, step);
  try {
    run_step(run, step);
  } catch (...) {
    rethrow_with_origin(origin_of(run.plan, step));
  }
  timer.ran();
  retire_step(run, step);
  timer.retired();
}

// Waits until all that this thread has encoded for these streams has run, and returns the error of
// the device if there is one. It waits even if it is interrupted, and raises that at the end.
std::exception_ptr finish_work(std::span<const Stream> streams) {
  std::vector<EventRef> events;
  for (const Stream& stream : streams) {
    Backend& backend = backend_for(stream.device);
    if (backend.ready_by_event()) {
      events.push_back(std::make_shared<Event>());
      backend.encoder(stream).record(events.back());
    }
  }
  std::exception_ptr error;
  std::exception_ptr interruption;
  for (const EventRef& event : events) {
    for (bool waited = false; !waited;) {
      try {
        event->wait();
        waited = true;
      } catch (...) {
        waited = event->failed();
        (waited ? error : interruption) = std::current_exception();
      }
    }
  }
  if (!error && interruption) {
    std::rethrow_exception(interruption);
  }
  return error;
}

// The same for a run, which keeps the error. An error of the run itself goes first.
std::exception_ptr finish_run(
    Run& run, std::span<const Stream> streams, const std::exception_ptr& own_error) {
  std::exception_ptr error;
  try {
    error = finish_work(streams);
    run.device_failed = run.device_failed || error;
  } catch (...) {
    error = std::current_exception();
  }
  for (const EventRef& event : run.step_events) {
    run.device_failed = run.device_failed || (event && event->failed());
  }
  return own_error ? own_error : error;
}

void settle_unfinished(Run& run) {
  for (const array& value : run.unfinished) {
    value.node()->set_status(finished_status(run));
  }
  run.unfinished.clear();
}

void run_now(Run& run) {
  size_t done = 0;
  std::exception_ptr error;
  try {
    await_inputs(run);
    take_awaited(run);
    for (Step& step : run.plan.steps) {
      check_interrupt();
      perform(run, step);
      ++done;
    }
  } catch (...) {
    error = std::current_exception();
  }
  if (run.by_event) {
    error = finish_run(run, run.plan.streams, error);
    settle_unfinished(run);
  }
  if (error) {
    give_back(run, done);
    run.buffers.clear();
    run.event->fail(error);
    std::rethrow_exception(error);
  }
  run.buffers.clear();
  run.event->set();
}

// Finds whether arrays of the plan are ready by events, and which steps then need one.
void prepare_events(Run& run) {
  const Plan& plan = run.plan;
  run.step_events.clear();
  run.device_failed = false;
  run.by_event = std::any_of(plan.streams.begin(), plan.streams.end(), [](const Stream& stream) {
    return backend_for(stream.device).ready_by_event();
  });
  if (run.by_event && plan.streams.size() > 1) {
    run.step_events.resize(plan.steps.size());
    for (const StepWait& wait : plan.waited) {
      run.step_events[wait.step] = std::make_shared<Event>();
    }
  }
}

// Plans the outputs under the order policy of this thread. Under graph_mutex(). The result must
// live until the nodes are taken.
Repeats prepare(std::span<const array> outputs, Run& run) {
  Repeats repeats = plan_evaluation(outputs, run.tape, run.plan);
  prepare_events(run);
  return repeats;
}

// Whether there is something to do, or to wait for.
bool has_work(const Run& run) {
  return !run.plan.steps.empty() || !run.plan.awaited.empty();
}

// Ends an asynchronous run, on the worker that finishes last.
void conclude(Run& run) {
  run.buffers.clear();
  settle_unfinished(run);
  for (const Step& step : run.plan.steps) {
    if (run.failed && step.node && step.node->status() == Status::scheduled) {
      for_each_node(run.plan, step, [](Node& node) { node.set_status(Status::failed); });
    }
  }
  {
    // At once, so that whoever plans never counts handles of a run that has ended. The rest ends
    // without the lock: owners of borrowed memory may take locks of their own.
    std::lock_guard lock(graph_mutex());
    run.computed.clear();
    run.event->end();
  }
  run.kept.clear();
  if (!run.failed) {
    run.event->set();
    return;
  }
  run.event->fail(run.error);
  std::rethrow_exception(run.error);
}

void record_error(Run& run, std::exception_ptr error) {
  std::lock_guard lock(run.mutex);
  if (!run.error) {
    run.error = std::move(error);
  }
  run.failed = true;
}

// Runs the steps of one stream, on its worker.
void run_stream(Run& run, size_t stream) {
  const Tf32Scope scope(run.tf32);
  Plan& plan = run.plan;
  std::exception_ptr error;
  try {
    await_inputs(run); // each stream waits by itself, so that its worker shows what it waits for
    std::call_once(run.inputs_taken, [&] { take_awaited(run); });
    for (uint32_t i = 0; i < plan.steps.size() && !run.failed; ++i) {
      Step& step = plan.steps[i];
      if (step.stream != plan.streams[stream]) {
        continue;
      }
      for (uint32_t w = 0; w < step.waits.count; ++w) {
        const StepWait& wait = plan.waited[step.waits.first + w];
        const auto at = std::find(plan.streams.begin(), plan.streams.end(), wait.stream);
        run.progress[at - plan.streams.begin()].wait_for(wait.step);
      }
      if (run.failed) {
        break;
      }
      perform(run, step);
      if (plan.streams.size() > 1) {
        run.progress[stream].reached(i);
      }
    }
    backend_for(plan.streams[stream].device).encoder(plan.streams[stream]).submit();
  } catch (...) {
    error = std::current_exception();
    record_error(run, error);
  }
  run.progress[stream].stop();
  if (run.by_event) {
    error = finish_run(run, {&plan.streams[stream], 1}, error);
    if (error) {
      record_error(run, error);
    }
  }
  if (--run.streams_left == 0) {
    conclude(run);
  }
}

// Waits for the work that devices still have to do behind the host for the arrays.
void finish_streams(std::span<const array> outputs) {
  std::optional<Stream> latest;
  for (const array& output : outputs) {
    if (output.stream() != latest) {
      latest = output.stream();
      backend_for(latest->device).encoder(*latest).finish();
    }
  }
}

// This thread's storage of its latest finished run, for the next one.
thread_local std::unique_ptr<Run> spare_run;

std::unique_ptr<Run> take_spare_run() {
  return spare_run ? std::move(spare_run) : std::make_unique<Run>();
}

void keep_spare_run(std::unique_ptr<Run> run) {
  if (run->plan.steps.capacity() <= kLargestSpare) {
    run->event.reset();
    spare_run = std::move(run);
  }
}

} // namespace

void eval(std::span<const array> outputs) {
  measure_rates_for_budget();
  const Tf32Scope scope(tf32_enabled()); // the same while it is planned and while it runs
  std::unique_ptr<Run> run = take_spare_run();
  bool needs_run;
  {
    std::lock_guard lock(graph_mutex());
    Repeats repeats = prepare(outputs, *run);
    needs_run = has_work(*run);
    if (needs_run) {
      take(*run);
      repeats.keep();
    }
  }
  if (needs_run) {
    run_now(*run);
  }
  keep_spare_run(std::move(run));
  finish_streams(outputs);
}

void async_eval(std::span<const array> outputs) {
  measure_rates_for_budget();
  auto run = std::make_shared<Run>();
  run->tf32 = tf32_enabled();
  const Tf32Scope scope(run->tf32);
  // Every worker gets its jobs in the order in which they were planned, so no job waits for one
  // behind it.
  std::lock_guard lock(graph_mutex());
  Repeats repeats = prepare(outputs, *run);
  if (run->plan.steps.empty()) {
    return;
  }
  const size_t streams = run->plan.streams.size();
  run->progress.resize(streams);
  run->streams_left = streams;
  // If one stream has its job, all must get theirs. So nothing may fail from here on.
  std::vector<std::pair<Worker*, Worker::Jobs>> jobs;
  for (size_t i = 0; i < streams; ++i) {
    Worker& worker = worker_for(run->plan.streams[i]);
    jobs.emplace_back(&worker, worker.prepare([run, i] { run_stream(*run, i); }));
  }
  hold_values(*run);
  take(*run);
  run->event->start();
  release_edges(*run);
  repeats.keep();
  for (auto& [worker, job] : jobs) {
    worker->post(std::move(job));
  }
}

Repeats plan_outputs(std::span<const array> outputs, Tape& tape, Plan& plan) {
  return plan_graph(outputs, order_options(), tape, plan, fusion_enabled());
}

Repeats plan_evaluation(std::span<const array> outputs, Tape& tape, Plan& plan) {
  const OrderOptions options = order_options();
  const bool fuse = fusion_enabled();
  KeptPlans& kept = spare_of_thread<KeptPlans>();
  list_nodes(outputs, options, tape);
  if (kept.find(tape, outputs, options, fuse, plan) &&
      plan.peak_bytes() <= limit_of(plan, options)) {
    return {};
  }
  Repeats repeats = plan_listed(outputs, options, tape, plan, fuse);
  if (repeats.copies().empty()) {
    kept.keep(plan);
  }
  return repeats;
}

} // namespace narrows
