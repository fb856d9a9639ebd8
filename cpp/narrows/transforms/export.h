// Functions kept in files: recorded once, called again in other programs.
#pragma once

#include <memory>
#include <string>

#include "narrows/transforms/exported_graph.h"

namespace narrows {

struct ExportedFile;

// Records one function for several kinds of arguments and writes all to one file.
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

  // Records it for arguments of the shapes and dtypes of these, or, if it is shapeless, of their
  // numbers of dimensions and dtypes. ValueError if that was done already, an operation cannot be
  // exported, or after close().
  void operator()(const std::vector<array>& args, const Keywords& kwargs = {});

  // Writes the file, at once or not at all. std::system_error where that fails.
  void close();
  // Forgets what was recorded.
  void discard();

 private:
  std::string path_;
  KeywordFunction function_;
  bool shapeless_;
  std::unique_ptr<ExportedFile> file_; // none: closed
};

void export_function(
    const std::string& path,
    const Function& function,
    const std::vector<array>& args,
    bool shapeless = false,
    const std::string& metadata = {});

// A function from a file. Its operations are recorded when it is called, on the default stream,
// so that transformations apply to it.
class ImportedFunction {
 public:
  explicit ImportedFunction(std::shared_ptr<const ExportedFile> file) : file_(std::move(file)) {
  }

  // ValueError if it was not exported for arguments like these.
  std::vector<array> operator()(const std::vector<array>& args, const Keywords& kwargs = {}) const;

  const std::string& metadata() const;

 private:
  std::shared_ptr<const ExportedFile> file_;
};

// Reads a file and checks all of it. std::system_error if it cannot be read, ValueError if it
// holds no functions that could have been exported.
ImportedFunction import_function(const std::string& path);

} // namespace narrows
