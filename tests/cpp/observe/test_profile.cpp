#include "narrows/observe/profile.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/run/evaluate.h"
#include "null_device.h"

namespace narrows {
namespace {

// A device whose clock shows 1000 ns more at every mark.
class Mark final : public TimeMark {
 public:
  explicit Mark(int64_t time) : time_(time) {
  }
  int64_t nanoseconds() override {
    return time_;
  }

 private:
  int64_t time_;
};

class TimedEncoder final : public Encoder {
 public:
  explicit TimedEncoder(Encoder& encoder) : encoder_(encoder) {
  }
  void run(const KernelCall& call) override {
    encoder_.run(call);
  }
  void record(const EventRef& event) override {
    encoder_.record(event);
  }
  void wait(const EventRef& event) override {
    encoder_.wait(event);
  }
  std::unique_ptr<TimeMark> mark_time() override {
    return std::make_unique<Mark>(time_ += 1000);
  }

 private:
  Encoder& encoder_;
  int64_t time_ = 0;
};

class TimedBackend final : public Backend {
 public:
  MemorySource& memory() override {
    return null_backend()->memory();
  }
  bool addresses(const MemorySource* source) const override {
    return null_backend()->addresses(source);
  }
  Encoder& encoder(Stream stream) override {
    static TimedEncoder encoder(null_backend()->encoder(stream));
    return encoder;
  }
  bool supports(const KernelId& kernel) const override {
    return null_backend()->supports(kernel);
  }
  DeviceInfo info() const override {
    return {};
  }
};

using ProfileTest = NullDevice;

TEST_F(ProfileTest, DeviceTimesComeFromTheBackend) {
  static TimedBackend timed;
  Backend* previous = set_backend(Device::Type::cpu, &timed);
  Profile profile;
  profile.start();
  eval(exp(zeros({1000})));
  profile.stop();
  set_backend(Device::Type::cpu, previous);
  const std::vector<ProfiledStep> steps = profile.steps();
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps[0].device_start, 1000);
  EXPECT_EQ(steps[0].device_duration, 1000);
  EXPECT_EQ(steps[1].device_start, 3000);
  EXPECT_NE(trace_json(profile).find(", device time\""), std::string::npos);
}

TEST_F(ProfileTest, HostTimesAloneWhereTheDeviceTellsNone) {
  Profile profile;
  profile.start();
  eval(exp(zeros({1000})));
  profile.stop();
  ASSERT_EQ(profile.steps().size(), 2u);
  EXPECT_EQ(profile.steps()[0].device_duration, 0);
  EXPECT_EQ(trace_json(profile).find("device time"), std::string::npos);
}

TEST_F(ProfileTest, StopsWithoutWaitingWhereItIsDropped) {
  {
    Profile dropped;
    dropped.start();
    eval(zeros({8}));
    EXPECT_TRUE(dropped.running());
  }
  EXPECT_EQ(detail::running_profiles, 0);
  Profile never_started;
  never_started.stop();
  EXPECT_EQ(detail::running_profiles, 0);
}

TEST_F(ProfileTest, ChildrenRecordNothing) {
  Profile profile;
  profile.start();
  const pid_t child = fork();
  if (child == 0) {
    eval(zeros({8}));
    _exit(profile.steps().empty() ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  eval(zeros({8}));
  profile.stop();
  EXPECT_EQ(profile.steps().size(), 1u);
}

} // namespace
} // namespace narrows
