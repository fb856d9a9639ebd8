// Arrays in files: bytes on the null backend, where nothing is read, and the functions for C++
// programs.
#include "narrows/io/load.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "narrows/io/gguf.h"
#include "narrows/io/npy.h"
#include "narrows/io/safetensors.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/order/settings.h"
#include "narrows/run/evaluate.h"
#include "null_device.h"

namespace narrows {
namespace {

// A path in a directory of its own, which is removed with it.
class TemporaryPath {
 public:
  TemporaryPath() {
    std::string pattern = (std::filesystem::temp_directory_path() / "narrows_XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
  }
  ~TemporaryPath() {
    std::filesystem::remove_all(directory_);
  }
  std::string operator()(const std::string& name = "file") const {
    return directory_ + "/" + name;
  }

 private:
  std::string directory_;
};

constexpr int64_t kMegabyte = int64_t{1} << 20;

class LoadBytes : public NullDevice {};

TEST_F(LoadBytes, ArraysAreReadStepByStep) {
  constexpr int64_t kArrays = 64;
  constexpr int64_t kBytes = 4 * kMegabyte;
  const TemporaryPath path;
  std::ofstream(path()).close();
  std::filesystem::resize_file(path(), kArrays * kBytes); // takes no space on disk
  std::vector<array> results;
  {
    const SourceRef source = open_source("test", path());
    for (int64_t i = 0; i < kArrays; ++i) {
      const array a = load_array(source, static_cast<uint64_t>(i * kBytes), {kBytes / 4}, float32);
      results.push_back(astype(exp(a), int8));
    }
  }
  EXPECT_EQ(active(), 0);
  const BfsMaxWidthScope depth_first(1);
  eval(results);
  // The sum, and the last array with its copy.
  EXPECT_EQ(active(), kArrays * kBytes / 4);
  EXPECT_EQ(peak(), active() + kBytes);
}

TEST(Load, WhatIsWrittenIsRead) {
  const TemporaryPath path;
  const array a = arange(int64_t{0}, int64_t{6}, int64_t{1}, int32);
  save(path(), a);
  EXPECT_EQ(load_npy(open_source("test", path())).eval().data<int32_t>()[5], 5);
  save_safetensors(path(), Safetensors{{{"a", a}}, {{"key", "text"}}});
  const Safetensors safetensors = load_safetensors(open_source("test", path()));
  EXPECT_EQ(safetensors.metadata.at("key"), "text");
  EXPECT_EQ(safetensors.arrays.at("a").eval().data<int32_t>()[5], 5);
  save_gguf(path(), Gguf{{{"a", a}}, {{"list", std::vector<std::string>{"x", "y"}}}});
  const Gguf gguf = load_gguf(open_source("test", path()));
  EXPECT_EQ(std::get<std::vector<std::string>>(gguf.metadata.at("list"))[1], "y");
  EXPECT_EQ(gguf.arrays.at("a").eval().data<int32_t>()[5], 5);
}

TEST(Load, NothingIsReadOutsideOfASource) {
  const TemporaryPath path;
  std::ofstream(path()) << "0123456789";
  const SourceRef source = open_source("test", path());
  char bytes[8];
  source->read(2, bytes, 8);
  EXPECT_EQ(std::string(bytes, 8), "23456789");
  EXPECT_THROW(source->read(3, bytes, 8), ValueError);
  EXPECT_THROW(source->read(UINT64_MAX, bytes, 8), ValueError);
  EXPECT_THROW(source->read(8, bytes, UINT64_MAX), ValueError);
  const SourceRef part = part_of(source, 4, 3);
  part->read(1, bytes, 2);
  EXPECT_EQ(std::string(bytes, 2), "56");
  EXPECT_THROW(part->read(2, bytes, 2), ValueError);
  EXPECT_THROW(part_of(source, 4, 7), ValueError);
  EXPECT_THROW(part_of(source, UINT64_MAX, 2), ValueError);
  EXPECT_THROW(load_array(source, 4, {2}, float32), ValueError);
  EXPECT_THROW(load_array(source, 4, {int64_t{1} << 62}, float32), ValueError);
  EXPECT_THROW(open_source("test", path("none")), std::system_error);
}

TEST(Load, AFileThatIsNotCommittedLeavesTheOldOne) {
  const TemporaryPath path;
  std::ofstream(path()) << "old";
  {
    FileSink sink("test", path());
    sink.write("new");
  }
  std::string text;
  std::ifstream(path()) >> text;
  EXPECT_EQ(text, "old");
  FileSink sink("test", path());
  sink.write("new");
  sink.commit();
  std::ifstream(path()) >> text;
  EXPECT_EQ(text, "new");
  const std::filesystem::directory_iterator files(std::filesystem::path(path()).parent_path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

} // namespace
} // namespace narrows
