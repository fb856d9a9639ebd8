// Exported functions: recorded once, kept in files, and called by other programs.
#pragma once

#include <memory>
#include <string>

#include "narrows/transforms/exported_graph.h"

namespace narrows {

struct ExportedFile;

// Records one function for several kinds of arguments, and writes all of them to one file.
class FunctionExporter {
 public:
  FunctionExporter(
      std::string path,
      KeywordFunction function,
      bool shapeless = false,
      std::string metadata = {});
  ~FunctionExporter();
  FunctionExporter(FunctionExporter&&) noexcept;
  FunctionExporter& operator=(FunctionExporter&&) noexcept;

  // Records the function for arguments of these shapes and dtypes or, if it is shapeless, for
  // arguments of these numbers of dimensions and dtypes. ValueError if that was done already, if an
  // operation cannot be exported, or after close().
  void operator()(const std::vector<array>& args, const Keywords& kwargs = {});

  // Writes the file, at once or not at all. std::system_error where that fails.
  void close();
  // Drops what was recorded.
  void discard();

 private:
  std::string path_;
  KeywordFunction function_;
  bool shapeless_;
  std::unique_ptr<ExportedFile> file_; // nullptr: closed
};

void export_function(
    const std::string& path,
    const Function& function,
    const std::vector<array>& args,
    bool shapeless = false,
    const std::string& metadata = {});

// A function from a file. A call records its operations on the default stream, so transformations
// apply to it.
class ImportedFunction {
 public:
  explicit ImportedFunction(std::shared_ptr<const ExportedFile> file) : file_(std::move(file)) {
  }

  // ValueError if it was not exported for such arguments.
  std::vector<array> operator()(const std::vector<array>& args, const Keywords& kwargs = {}) const;

  const std::string& metadata() const;

 private:
  std::shared_ptr<const ExportedFile> file_;
};

// Reads a file and checks all of it. std::system_error if it cannot be read. ValueError if it
// contains no functions that could have been exported.
ImportedFunction import_function(const std::string& path);

} // namespace narrows
