#include "narrows/record/origin.h"

#include <gtest/gtest.h>

#include <thread>

#include "narrows/core/errors.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/run/encode.h"
#include "narrows/run/evaluate.h"

namespace narrows {
namespace {

Origin line_seven() {
  return origin_at("program.cpp", 7);
}

// Nodes are recorded at line 7 of program.cpp.
class OriginTest : public testing::Test {
 protected:
  OriginTest() : traced_(set_trace_origin(true)) {
    set_origin_source(line_seven);
  }
  ~OriginTest() override {
    set_origin_source(nullptr);
    set_trace_origin(traced_);
  }

 private:
  const bool traced_;
};

template <typename Error>
class Raises final : public Primitive {
 public:
  const char* name() const override {
    return "raises";
  }
  void encode(Encoder&, const StepView&) const override {
    throw Error("[raises] as asked.");
  }
};

template <typename Error>
std::string message_of_failure() {
  const array a = zeros({4});
  const array b =
      record(std::make_shared<Raises<Error>>(), a.stream(), a.shape(), a.dtype(), {&a, 1});
  try {
    eval(exp(b));
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(OriginTest, ErrorsKeepTheirClassAndNameTheLine) {
  const std::string expected = "[raises] as asked. (recorded at program.cpp:7)";
  EXPECT_EQ(message_of_failure<ValueError>(), expected);
  EXPECT_EQ(message_of_failure<IndexError>(), expected);
  EXPECT_EQ(message_of_failure<TypeError>(), expected);
  EXPECT_EQ(message_of_failure<MemoryError>(), expected);
  EXPECT_EQ(message_of_failure<std::runtime_error>(), expected);
  EXPECT_EQ(message_of_failure<Interrupted>(), "[raises] as asked.");
  EXPECT_EQ(message_of_failure<std::logic_error>(), "[raises] as asked.");
  set_trace_origin(false);
  EXPECT_EQ(message_of_failure<ValueError>(), "[raises] as asked.");
}

TEST_F(OriginTest, PlacesHaveOneNumberEach) {
  EXPECT_EQ(origin_at("a.py", 1), origin_at("a.py", 1));
  EXPECT_NE(origin_at("a.py", 1), origin_at("a.py", 2));
  EXPECT_NE(origin_at("a.py", 1), origin_at("b.py", 1));
  EXPECT_EQ(origin_text(origin_at("b.py", 12)), "b.py:12");
  EXPECT_EQ(origin_text(0), "");
}

TEST_F(OriginTest, ScopesSpeakForOtherNodes) {
  const array outside = zeros({4});
  {
    const OriginScope scope(origin_at("model.py", 3));
    EXPECT_EQ(origin_text(exp(outside).node()->origin()), "model.py:3");
    const OriginScope unknown(0);
    EXPECT_EQ(origin_text(exp(outside).node()->origin()), "model.py:3");
    std::thread([&] {
      EXPECT_EQ(origin_text(exp(outside).node()->origin()), "program.cpp:7");
    }).join();
  }
  EXPECT_EQ(origin_text(exp(outside).node()->origin()), "program.cpp:7");
  set_trace_origin(false);
  const OriginScope scope(origin_at("model.py", 3));
  EXPECT_EQ(exp(outside).node()->origin(), 0u);
}

} // namespace
} // namespace narrows
