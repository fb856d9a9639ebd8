#include "narrows/transforms/export.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "narrows/ops/collective_order.h"
#include "narrows/record/trace.h"
#include "narrows/transforms/exported_file.h"

namespace narrows {
namespace {

[[noreturn]] void fail_file(
    const char* op,
    const std::string& path,
    std::error_code code = {errno ? errno : EIO, std::generic_category()}) {
  throw std::system_error(code, concat_message("[", op, "] the file ", path));
}

// The arguments, one on a line.
std::string signature(const ExportedGraph& graph) {
  std::ostringstream text;
  for (size_t i = 0; i < graph.arguments.size(); ++i) {
    const OutputSpec& spec = graph.arguments[i];
    text << (i ? ", " : "");
    if (i >= graph.positional()) {
      text << graph.keywords[i - graph.positional()] << "=";
    }
    text << name_of(spec.dtype) << to_string(spec.shape);
  }
  return concat_message(
      "(", text.str(), ")", graph.shapeless ? " or other shapes of the same ranks" : "");
}

std::string signature(const std::vector<array>& args, const Keywords& kwargs) {
  ExportedGraph graph;
  for (const array& a : args) {
    graph.arguments.push_back({a.shape(), a.dtype()});
  }
  for (const auto& [name, a] : kwargs) {
    graph.keywords.push_back(name);
    graph.arguments.push_back({a.shape(), a.dtype()});
  }
  return signature(graph);
}

const ExportedGraph* find(
    const ExportedFile& file, const std::vector<array>& args, const Keywords& kwargs) {
  const auto at = std::find_if(file.graphs.begin(), file.graphs.end(), [&](const auto& graph) {
    return graph.takes(args, kwargs);
  });
  return at == file.graphs.end() ? nullptr : &*at;
}

// Records the graph like a call.
void check(const ExportedGraph& graph) {
  const TraceScope scope(graph.shapeless);
  const TokenScope tokens(TokenScope::Start::none);
  std::vector<array> arguments;
  for (const OutputSpec& argument : graph.arguments) {
    arguments.push_back(placeholder(argument.shape, argument.dtype));
  }
  try {
    run(graph, arguments);
  } catch (const IndexError& error) {
    fail<ValueError>("[import_function] the graph is damaged: ", error.what());
  } catch (const ValueError& error) {
    fail<ValueError>("[import_function] the graph is damaged: ", error.what());
  }
}

} // namespace

FunctionExporter::FunctionExporter(
    std::string path, KeywordFunction function, bool shapeless, std::string metadata)
    : path_(std::move(path)),
      function_(std::move(function)),
      shapeless_(shapeless),
      file_(std::make_unique<ExportedFile>()) {
  file_->metadata = std::move(metadata);
}
FunctionExporter::~FunctionExporter() = default;
FunctionExporter::FunctionExporter(FunctionExporter&&) noexcept = default;
FunctionExporter& FunctionExporter::operator=(FunctionExporter&&) noexcept = default;

void FunctionExporter::operator()(const std::vector<array>& args, const Keywords& kwargs) {
  if (!file_) {
    fail<ValueError>("[export_function] the exporter of ", path_, " is closed.");
  }
  if (find(*file_, args, kwargs)) {
    fail<ValueError>(
        "[export_function] the function was exported for ", signature(args, kwargs), " already.");
  }
  file_->graphs.push_back(record_for_export(function_, args, kwargs, shapeless_));
}

void FunctionExporter::close() {
  if (!file_) {
    return;
  }
  const std::unique_ptr<ExportedFile> file = std::move(file_);
  FileSink sink("export_function", path_);
  write_exported(sink, *file);
  sink.commit();
}

void FunctionExporter::discard() {
  file_.reset();
}

void export_function(
    const std::string& path,
    const Function& function,
    const std::vector<array>& args,
    bool shapeless,
    const std::string& metadata) {
  const auto without_names = [&](const std::vector<array>& arguments, const Keywords&) {
    return function(arguments);
  };
  FunctionExporter exporter(path, without_names, shapeless, metadata);
  exporter(args);
  exporter.close();
}

std::vector<array> ImportedFunction::operator()(
    const std::vector<array>& args, const Keywords& kwargs) const {
  const ExportedGraph* graph = find(*file_, args, kwargs);
  if (!graph) {
    std::string message =
        "[import_function] called with " + signature(args, kwargs) + ", expected one of:";
    for (const ExportedGraph& exported : file_->graphs) {
      message += "\n  " + signature(exported);
    }
    throw ValueError(message);
  }
  return run(*graph, graph->in_order(args, kwargs));
}

const std::string& ImportedFunction::metadata() const {
  return file_->metadata;
}

ImportedFunction import_function(const std::string& path) {
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(path, error);
  if (error) {
    fail_file("import_function", path, error);
  }
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    fail_file("import_function", path);
  }
  auto file = std::make_shared<ExportedFile>(read_exported(stream, bytes));
  for (const ExportedGraph& graph : file->graphs) {
    check(graph);
  }
  return ImportedFunction(std::move(file));
}

} // namespace narrows
