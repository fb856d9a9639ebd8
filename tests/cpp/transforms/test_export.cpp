#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/reduce.h"
#include "narrows/run/evaluate.h"
#include "narrows/transforms/compile.h"
#include "narrows/transforms/export.h"
#include "narrows/transforms/exported_file.h"

namespace narrows {
namespace {

std::string bytes_of_file(const ExportedFile& file) {
  struct Bytes final : Sink {
    void write(const void* data, uint64_t count) override {
      text.append(static_cast<const char*>(data), count);
    }
    std::string text;
  } sink;
  write_exported(sink, file);
  return sink.text;
}

ExportedFile read_bytes(const std::string& bytes) {
  std::istringstream stream(bytes);
  return read_exported(stream, bytes.size());
}

ExportedGraph graph_of(const Function& function, const std::vector<array>& args) {
  const auto by_position = [&](const std::vector<array>& a, const Keywords&) {
    return function(a);
  };
  return record_for_export(by_position, args, {}, false);
}

ExportedGraph sum_of_squares() {
  return graph_of(
      [](const std::vector<array>& a) { return std::vector<array>{sum(multiply(a[0], a[0]))}; },
      {ones({3})});
}

TEST(ExportTest, functions_are_kept_in_files) {
  const std::string path =
      (std::filesystem::temp_directory_path() / "narrows_test_export").string();
  const array weights = full({2}, array(3), float32);
  const Function function = [&](const std::vector<array>& a) {
    return std::vector<array>{multiply(exp(a[0]), weights), a[0]};
  };
  const array x = full({2}, array(0.5f), float32);
  export_function(path, function, {x}, false, "about it");
  const ImportedFunction imported = import_function(path);
  std::filesystem::remove(path);
  EXPECT_EQ(imported.metadata(), "about it");
  const std::vector<array> found = imported({x});
  const std::vector<array> expected = function({x});
  ASSERT_EQ(found.size(), 2u);
  eval(found);
  eval(expected);
  EXPECT_EQ(std::memcmp(found[0].data(), expected[0].data(), 8), 0);
  EXPECT_TRUE(found[1].same_as(x));
  EXPECT_THROW(imported({x, x}), ValueError);
  EXPECT_THROW(import_function(path), std::system_error);
}

TEST(ExportTest, what_was_written_is_read) {
  ExportedFile file{"text", {}};
  file.graphs.push_back(sum_of_squares());
  const std::string bytes = bytes_of_file(file);
  const ExportedFile read = read_bytes(bytes);
  EXPECT_EQ(read.metadata, "text");
  ASSERT_EQ(read.graphs.size(), 1u);
  ASSERT_EQ(read.graphs[0].nodes.size(), 2u);
  EXPECT_EQ(read.graphs[0].nodes[0].name, "multiply");
  EXPECT_EQ(read.graphs[0].nodes[1].name, "sum");
  EXPECT_EQ(bytes_of_file(read), bytes);
}

// Changes of a graph that the parts of the file allow, but that calls must refuse.
TEST(ExportTest, hostile_graphs_are_refused) {
  using Change = void (*)(ExportedGraph&);
  const Change changes[] = {
      [](ExportedGraph& g) { g.nodes[0].name = "no such operation"; },
      [](ExportedGraph& g) { g.nodes[0].name = "slice"; },
      [](ExportedGraph& g) { g.nodes[0].inputs = {0}; },
      [](ExportedGraph& g) {
        g.nodes[0].inputs = {0, 1};
      },
      [](ExportedGraph& g) {
        g.nodes[0].inputs = {0, 5};
      },
      [](ExportedGraph& g) {
        g.nodes[0].inputs = {0, ExportedGraph::kConstant};
      },
      [](ExportedGraph& g) { g.nodes[0].outputs.clear(); },
      [](ExportedGraph& g) { g.nodes[0].outputs[0].shape = {-1}; },
      [](ExportedGraph& g) {
        g.nodes[0].outputs[0].shape = {INT64_MAX, 2};
      },
      [](ExportedGraph& g) {
        g.nodes[1].outputs[0].shape = {INT64_MAX, 0};
      },
      [](ExportedGraph& g) { g.nodes[0].outputs[0].dtype = int8; },
      [](ExportedGraph& g) { g.nodes[1].attributes.clear(); },
      [](ExportedGraph& g) { g.nodes[1].attributes[0].value = true; },
      [](ExportedGraph& g) {
        g.nodes[1].attributes[0].value = Axes{0, 0};
      },
      [](ExportedGraph& g) { g.nodes[1].attributes[0].value = Axes{1}; },
      [](ExportedGraph& g) { g.nodes[1].attributes[0].value = Axes{-2}; },
      [](ExportedGraph& g) { g.outputs = {7}; },
      [](ExportedGraph& g) { g.outputs = {ExportedGraph::kConstant | 3}; },
      [](ExportedGraph& g) {
        g.keywords = {"a", "b"};
      },
  };
  const std::string path =
      (std::filesystem::temp_directory_path() / "narrows_test_hostile").string();
  for (size_t i = 0; i < std::size(changes); ++i) {
    ExportedFile file;
    file.graphs.push_back(sum_of_squares());
    changes[i](file.graphs[0]);
    std::ofstream(path, std::ios::binary) << bytes_of_file(file);
    EXPECT_THROW(import_function(path), ValueError) << "change " << i;
  }
  std::filesystem::remove(path);
}

// Parameters that public functions refuse.
TEST(ExportTest, hostile_parameters_are_refused) {
  struct Case {
    const char* name;
    Attributes attributes;
    std::vector<OutputSpec> inputs;
    std::vector<OutputSpec> outputs;
  };
  const int64_t most = INT64_MAX;
  const int64_t least = INT64_MIN;
  const Case cases[] = {
      {"reshape", {}, {{{6}, float32}}, {{{4}, float32}}},
      {"slice",
       {{"starts", Shape{0}}, {"strides", Shape{most}}},
       {{{6}, float32}},
       {{{3}, float32}}},
      {"slice",
       {{"starts", Shape{5}}, {"strides", Shape{least}}},
       {{{6}, float32}},
       {{{1}, float32}}},
      {"slice",
       {{"starts", Shape{most}}, {"strides", Shape{1}}},
       {{{6}, float32}},
       {{{3}, float32}}},
      {"slice", {{"starts", Shape{}}, {"strides", Shape{}}}, {{{6}, float32}}, {{{3}, float32}}},
      {"split",
       {{"axis", int64_t{0}}, {"starts", Shape{0}}},
       {{{6}, float32}},
       {{{3}, float32}, {{3}, float32}}},
      {"split", {{"axis", int64_t{0}}, {"starts", Shape{4}}}, {{{6}, float32}}, {{{3}, float32}}},
      {"split", {{"axis", most}, {"starts", Shape{0}}}, {{{6}, float32}}, {{{6}, float32}}},
      {"as_strided",
       {{"strides", Shape{1}}, {"offset", int64_t{4}}},
       {{{6}, float32}},
       {{{3}, float32}}},
      {"as_strided",
       {{"strides", Shape{most}}, {"offset", most}},
       {{{6}, float32}},
       {{{3}, float32}}},
      {"strided_add",
       {{"strides", Shape{3}}, {"offset", int64_t{0}}},
       {{{6}, float32}, {{3}, float32}},
       {{{6}, float32}}},
      {"strided_add",
       {{"strides", Shape{1}}, {"offset", int64_t{0}}},
       {{{6}, float32}, {{3}, int8}},
       {{{6}, float32}}},
      {"pad", {{"before", Shape{-1}}}, {{{6}, float32}, {{}, float32}}, {{{7}, float32}}},
      {"pad", {{"before", Shape{8}}}, {{{6}, float32}, {{}, float32}}, {{{7}, float32}}},
      {"pad", {{"before", Shape{0, 0}}}, {{{6}, float32}, {{}, float32}}, {{{7}, float32}}},
      {"softmax", {{"row_ndim", int64_t{2}}}, {{{6}, float32}}, {{{6}, float32}}},
      {"softmax", {{"row_ndim", int64_t{-1}}}, {{{6}, float32}}, {{{6}, float32}}},
      {"diagonal",
       {{"offset", most}, {"axis1", int64_t{0}}, {"axis2", int64_t{1}}},
       {{{2, 2}, float32}},
       {{{0}, float32}}},
      {"arange",
       {{"start", 0.0}, {"step", 1.0}, {"int_start", int64_t{1}}, {"int_step", most}},
       {},
       {{{2}, float32}}},
      {"arange",
       {{"start", 0.0}, {"step", 1.0}, {"int_start", int64_t{0}}, {"int_step", int64_t{1}}},
       {},
       {{{2, 2}, float32}}},
      {"bits", {}, {{{3}, uint32}}, {{{2}, uint32}}},
      {"bits", {}, {{{4, 2}, uint32}}, {{{3, 5}, uint32}}},
      {"bits", {}, {{{2}, uint32}}, {{{2}, float32}}},
      {"bits", {}, {{{}, uint32}}, {{{2}, uint32}}},
      {"depends", {}, {{{2}, float32}}, {{{2}, float32}, {{2}, float32}}},
      {"concatenate", {{"axis", int64_t{0}}}, {}, {{{2}, float32}}},
      {"stack", {{"axis", least}}, {{{2}, float32}}, {{{1, 2}, float32}}},
      {"full", {{"value", int64_t{1}}}, {}, {{{2}, float32}}},
  };
  for (const Case& c : cases) {
    const Operation* operation = find_operation(c.name);
    ASSERT_TRUE(operation) << c.name;
    std::vector<array> inputs;
    for (const OutputSpec& input : c.inputs) {
      inputs.push_back(zeros(input.shape, input.dtype));
    }
    bool refused = false;
    try {
      const std::vector<array> results =
          operation->call({c.name, inputs, c.attributes, c.inputs, c.outputs, {}});
      refused = results.size() != c.outputs.size(); // as run() compares
    } catch (const ValueError&) {
      refused = true;
    } catch (const IndexError&) {
      refused = true;
    }
    EXPECT_TRUE(refused) << c.name;
  }
}

TEST(ExportTest, recorded_graphs_are_exported_as_their_operations) {
  const array offset = full({2}, array(3), float32);
  const auto inner = record_graph(
      [&](const std::vector<array>& a) {
        return std::vector<array>{add(exp(a[0]), offset), a[0]};
      },
      {ones({2})});
  const Function function = [&](const std::vector<array>& a) {
    const std::vector<array> once = call(inner, {a[0]});
    return std::vector<array>{call(inner, {once[0]})[0], once[1]};
  };
  const ExportedGraph graph = graph_of(function, {ones({2})});
  const array x = full({2}, array(0.25f), float32);
  const std::vector<array> found = run(graph, {x});
  const std::vector<array> expected = function({x});
  eval(found);
  eval(expected);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(std::memcmp(found[i].data(), expected[i].data(), 8), 0);
  }
}

} // namespace
} // namespace narrows
