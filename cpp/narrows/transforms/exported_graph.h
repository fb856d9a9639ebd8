// A recorded function as data: what a file of exported functions contains, and how it is called.
#pragma once

#include <map>
#include <string>

#include "narrows/record/attributes.h"
#include "narrows/transforms/derivative.h"

namespace narrows {

struct Operation;

using Keywords = std::map<std::string, array>;

// A function of positional arguments and of arguments with names.
using KeywordFunction =
    std::function<std::vector<array>(const std::vector<array>&, const Keywords&)>;

struct ExportedGraph {
  // Values are numbered: first the arguments, positional ones before the others, then the outputs
  // of the nodes. A number with this bit is that of a constant.
  static constexpr uint32_t kConstant = uint32_t{1} << 31;

  struct Node {
    std::string name;
    const Operation* operation; // of this name
    Attributes attributes;
    std::vector<uint32_t> inputs;
    std::vector<OutputSpec> outputs;
  };

  bool shapeless = false;            // for arguments of the same ranks and of any shapes
  std::vector<std::string> keywords; // of the last arguments, ascending
  std::vector<OutputSpec> arguments;
  std::vector<array> constants;
  std::vector<Node> nodes; // inputs first
  std::vector<uint32_t> outputs;

  size_t positional() const {
    return arguments.size() - keywords.size();
  }
  // Whether it can be called with these arguments.
  bool takes(const std::vector<array>& args, const Keywords& kwargs) const;
  // The arguments as one list. Only if takes() holds.
  std::vector<array> in_order(const std::vector<array>& args, const Keywords& kwargs) const;
};

// Records the function for these arguments. Arrays that it captures become constants.
ExportedGraph record_for_export(
    const KeywordFunction& function,
    const std::vector<array>& args,
    const Keywords& kwargs,
    bool shapeless);

// The outputs for these arguments. Records the operations again by the public functions, on the
// default stream. ValueError where shapes or dtypes differ from those that the graph has.
std::vector<array> run(const ExportedGraph& graph, const std::vector<array>& arguments);

} // namespace narrows
