// How profiles are written: trace events and the table by operation.
#include <algorithm>
#include <iomanip>
#include <map>
#include <sstream>

#include "narrows/observe/profile.h"

namespace narrows {
namespace {

std::string quoted(const std::string& text) {
  std::ostringstream json;
  json << '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      json << '\\' << c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      json << "\\u00" << std::hex << std::setw(2) << std::setfill('0') << static_cast<int>(c)
           << std::dec;
    } else {
      json << c;
    }
  }
  json << '"';
  return json.str();
}

std::string quoted(const std::vector<std::string>& texts) {
  std::string json = "[";
  for (size_t i = 0; i < texts.size(); ++i) {
    json += (i ? ", " : "") + quoted(texts[i]);
  }
  return json + "]";
}

// Nanoseconds as microseconds.
std::string microseconds(int64_t nanoseconds) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(3) << static_cast<double>(nanoseconds) / 1e3;
  return text.str();
}

// A track of the trace: steps of one stream that ran on one thread, or on the device.
struct Track {
  int stream;
  bool on_device;
  std::thread::id thread;
  auto operator<=>(const Track&) const = default;
};

class TraceWriter {
 public:
  explicit TraceWriter(int64_t start) : start_(start) {
    json_ << "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n"
          << R"({"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "narrows"}})";
  }

  void add(const ProfiledStep& step) {
    add_event(step, track_of(step, false), step.start, step.duration);
    if (step.device_duration > 0) {
      add_event(step, track_of(step, true), step.device_start, step.device_duration);
    }
    samples_.push_back({step.start, step.running_bytes, step.stream.device});
    samples_.push_back({step.start + step.duration, step.live_bytes, step.stream.device});
  }

  std::string finish() {
    std::stable_sort(samples_.begin(), samples_.end(), [](const auto& a, const auto& b) {
      return a.time < b.time;
    });
    const bool separate = has_separate_memories();
    for (const Sample& sample : samples_) {
      json_ << ",\n"
            << R"({"ph": "C", "name": "active memory)"
            << (separate ? " of " + to_string(sample.device) : "") << R"(", "pid": 1, "ts": )"
            << since_start(sample.time) << R"(, "args": {"bytes": )" << sample.bytes << "}}";
    }
    json_ << "\n]}\n";
    return json_.str();
  }

 private:
  std::string since_start(int64_t time) const {
    return microseconds(time - start_);
  }

  // Tracks get numbers and names when they appear.
  size_t track_of(const ProfiledStep& step, bool on_device) {
    const Track track{step.stream.index, on_device, on_device ? std::thread::id() : step.thread};
    const auto [found, is_new] = tracks_.emplace(track, tracks_.size() + 1);
    if (is_new) {
      const int count = ++tracks_of_stream_[{step.stream.index, on_device}];
      std::string name = to_string(step.stream) + (on_device ? ", device time" : "");
      if (count > 1) {
        name += ", thread " + std::to_string(count);
      }
      json_ << ",\n"
            << R"({"ph": "M", "name": "thread_name", "pid": 1, "tid": )" << found->second
            << R"(, "args": {"name": )" << quoted(name) << "}}";
    }
    return found->second;
  }

  void add_event(const ProfiledStep& step, size_t track, int64_t start, int64_t duration) {
    json_ << ",\n"
          << R"({"ph": "X", "cat": "step", "name": )" << quoted(step.op) << R"(, "pid": 1, "tid": )"
          << track << R"(, "ts": )" << since_start(start) << R"(, "dur": )"
          << microseconds(duration) << R"(, "args": {"inputs": )" << quoted(step.inputs)
          << R"(, "outputs": )" << quoted(step.outputs) << R"(, "stream": )"
          << quoted(to_string(step.stream)) << R"(, "allocated_bytes": )" << step.allocated_bytes
          << R"(, "live_bytes": )" << step.live_bytes;
    if (step.origin != 0) {
      json_ << R"(, "origin": )" << quoted(origin_text(step.origin));
    }
    json_ << "}}";
  }

  const int64_t start_;
  std::ostringstream json_;
  std::map<Track, size_t> tracks_;
  std::map<std::pair<int, bool>, int> tracks_of_stream_;
  // Active memory.
  struct Sample {
    int64_t time;
    int64_t bytes;
    Device device;
  };
  std::vector<Sample> samples_;
};

struct OpTotal {
  std::string op;
  int64_t count = 0;
  int64_t time = 0; // on the device, where it is known
  int64_t allocated_bytes = 0;

  void add(const ProfiledStep& step) {
    ++count;
    time += step.device_duration > 0 ? step.device_duration : step.duration;
    allocated_bytes += step.allocated_bytes;
  }
};

void write_row(std::ostringstream& text, const OpTotal& row, int64_t total_time, size_t width) {
  const double share = total_time > 0 ? static_cast<double>(row.time) / total_time : 0;
  text << std::left << std::setw(static_cast<int>(width)) << row.op << std::right << std::fixed
       << std::setw(9) << row.count << std::setprecision(3) << std::setw(13)
       << static_cast<double>(row.time) / 1e6 << std::setprecision(1) << std::setw(8) << 100 * share
       << std::setw(12) << static_cast<double>(row.time) / 1e3 / std::max<int64_t>(1, row.count)
       << std::setprecision(3) << std::setw(15) << static_cast<double>(row.allocated_bytes) / 1e6
       << "\n";
}

} // namespace

std::string trace_json(const Profile& profile) {
  TraceWriter writer(profile.started());
  for (const ProfiledStep& step : profile.steps()) {
    writer.add(step);
  }
  return writer.finish();
}

std::string summary_text(const Profile& profile) {
  std::map<std::string, OpTotal> by_op;
  OpTotal all{"all"};
  for (const ProfiledStep& step : profile.steps()) {
    OpTotal& total = by_op[step.op];
    total.op = step.op;
    total.add(step);
    all.add(step);
  }
  std::vector<OpTotal> rows;
  size_t width = 12;
  for (const auto& [op, total] : by_op) {
    rows.push_back(total);
    width = std::max(width, op.size());
  }
  std::stable_sort(
      rows.begin(), rows.end(), [](const OpTotal& a, const OpTotal& b) { return a.time > b.time; });
  std::ostringstream text;
  text << std::left << std::setw(static_cast<int>(width)) << "op" << std::right << std::setw(9)
       << "steps" << std::setw(13) << "time ms" << std::setw(8) << "%" << std::setw(12)
       << "us a step" << std::setw(15) << "allocated MB"
       << "\n";
  for (const OpTotal& row : rows) {
    write_row(text, row, all.time, width);
  }
  write_row(text, all, all.time, width);
  return text.str();
}

} // namespace narrows
