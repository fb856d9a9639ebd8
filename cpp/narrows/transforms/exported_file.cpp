#include "narrows/transforms/exported_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string_view>
#include <unordered_map>

#include "narrows/ops/operation.h"
#include "narrows/ops/shape.h"
#include "narrows/run/evaluate.h"
#include "narrows/runtime/allocator.h"

namespace narrows {
namespace {

static_assert(std::endian::native == std::endian::little, "The format is written as memory is.");

constexpr std::string_view kMagic = "narrowsf";
constexpr uint32_t kVersion = 1;

// Collects numbers and texts, so that the sink is given them at once.
class Writer {
 public:
  explicit Writer(Sink& sink) : sink_(sink) {
  }

  template <typename T>
  void number(T value) {
    static_assert(std::is_arithmetic_v<T>);
    bytes(&value, sizeof(T));
  }
  void bytes(const void* data, size_t count) {
    collected_.append(static_cast<const char*>(data), count);
  }
  void count(size_t value) {
    if (value > std::numeric_limits<uint32_t>::max()) {
      fail<ValueError>("[export_function] ", value, " items of one kind are too many for a file.");
    }
    number(static_cast<uint32_t>(value));
  }
  void string(std::string_view text) {
    count(text.size());
    bytes(text.data(), text.size());
  }
  template <typename List, typename Item>
  void list(const List& items, Item&& item) {
    count(items.size());
    for (const auto& i : items) {
      item(i);
    }
  }
  void numbers(const std::vector<uint32_t>& items) {
    list(items, [&](uint32_t i) { number(i); });
  }
  void shape(const Shape& shape) {
    list(shape, [&](int64_t n) { number(n); });
  }
  void spec(const OutputSpec& spec) {
    number(static_cast<uint8_t>(spec.dtype));
    shape(spec.shape);
  }

  void constant(const array& a) {
    spec({a.shape(), a.dtype()});
    flush();
    sink_.write(a);
  }
  void flush() {
    sink_.write(collected_);
    collected_.clear();
  }
  void attribute(const Attribute& attribute) {
    string(attribute.name);
    number(uint8_t{attribute.is_printed});
    number(static_cast<uint8_t>(attribute.value.index()));
    std::visit([&](const auto& value) { this->value(value); }, attribute.value);
  }

 private:
  void value(bool value) {
    number(uint8_t{value});
  }
  void value(int64_t value) {
    number(value);
  }
  void value(double value) {
    number(value);
  }
  void value(const std::string& value) {
    string(value);
  }
  void value(const Scalar& value) {
    number(static_cast<uint8_t>(value.dtype));
    bytes(value.bytes, sizeof(value.bytes));
  }
  void value(const Axes& axes) {
    shape(Shape(axes.begin(), axes.end()));
  }
  void value(const Shape& value) {
    shape(value);
  }

  Sink& sink_;
  std::string collected_;
};

void write_graph(
    Writer& out,
    const ExportedGraph& graph,
    const std::unordered_map<const Output*, uint32_t>& constants) {
  out.number(uint8_t{graph.shapeless});
  out.list(graph.arguments, [&](const OutputSpec& spec) { out.spec(spec); });
  out.list(graph.keywords, [&](const std::string& name) { out.string(name); });
  out.list(graph.constants, [&](const array& a) { out.number(constants.at(a.output())); });
  out.list(graph.nodes, [&](const ExportedGraph::Node& node) {
    out.string(node.name);
    out.list(node.attributes, [&](const Attribute& attribute) { out.attribute(attribute); });
    out.numbers(node.inputs);
    out.list(node.outputs, [&](const OutputSpec& spec) { out.spec(spec); });
  });
  out.numbers(graph.outputs);
}

// Reads a file and checks everything that it returns, because the file may come from anybody.
class Reader {
 public:
  Reader(std::istream& stream, uint64_t bytes) : stream_(stream), left_(bytes) {
  }

  uint64_t left() const {
    return left_;
  }

  void bytes(void* to, uint64_t count) {
    take(count);
    if (!stream_.read(static_cast<char*>(to), static_cast<std::streamsize>(count))) {
      fail<ValueError>("[import_function] the file ends too early.");
    }
  }
  template <typename T>
  T number() {
    T value;
    bytes(&value, sizeof(T));
    return value;
  }
  bool flag() {
    return below(2, "flag") == 1;
  }
  // A byte that is less than `end`.
  uint8_t below(size_t end, const char* what) {
    const auto value = number<uint8_t>();
    if (value >= end) {
      fail<ValueError>(
          "[import_function] ", what, " ", int{value}, ", expected less than ", end, ".");
    }
    return value;
  }
  // A count of items that follow, each of at least so many bytes.
  size_t count(uint64_t item_bytes) {
    const auto value = number<uint32_t>();
    if (value > left_ / item_bytes) {
      fail<ValueError>(
          "[import_function] a list of ", value, " items in the last ", left_, " bytes.");
    }
    return value;
  }
  std::string string() {
    std::string text(count(1), '\0');
    bytes(text.data(), text.size());
    return text;
  }
  template <typename Item>
  auto list(uint64_t item_bytes, Item&& item) {
    const size_t size = count(item_bytes);
    std::vector<decltype(item())> items;
    items.reserve(size);
    for (size_t i = 0; i < size; ++i) {
      items.push_back(item());
    }
    return items;
  }
  Dtype dtype() {
    return static_cast<Dtype>(below(kDtypeCount, "dtype"));
  }
  Shape integers() {
    Shape result;
    for (size_t i = count(sizeof(int64_t)); i > 0; --i) {
      result.push_back(number<int64_t>());
    }
    return result;
  }
  OutputSpec spec() {
    OutputSpec result{{}, dtype()};
    result.shape = integers();
    checked_multiply(
        "import_function", checked_size("import_function", result.shape), size_of(result.dtype));
    return result;
  }

  array constant() {
    OutputSpec what = spec();
    const int64_t size = element_count(what.shape) * size_of(what.dtype);
    require(static_cast<uint64_t>(size));
    const Stream stream = default_stream({Device::Type::cpu, 0});
    MemorySource& memory = backend_for(stream.device).memory();
    BufferRef buffer = allocate(memory, size, "import_function");
    if (size == 0 || !memory.host_visible()) {
      skip(static_cast<uint64_t>(size));
    } else {
      bytes(buffer->memory, static_cast<uint64_t>(size));
      if (what.dtype == bool_) {
        auto* values = static_cast<uint8_t*>(buffer->memory);
        std::transform(values, values + size, values, [](uint8_t value) { return value != 0; });
      }
    }
    Layout layout = Layout::row_major(what.shape);
    return array(std::move(what.shape), what.dtype, std::move(buffer), std::move(layout), stream);
  }

  Attribute attribute() {
    std::string name = string();
    const bool is_printed = flag();
    return {std::move(name), value(below(std::variant_size_v<AttributeValue>, "type")), is_printed};
  }

 private:
  void require(uint64_t count) const {
    if (count > left_) {
      fail<ValueError>(
          "[import_function] the file ends too early: ", left_, " bytes, expected ", count, ".");
    }
  }
  void take(uint64_t count) {
    require(count);
    left_ -= count;
  }
  void skip(uint64_t count) {
    take(count);
    stream_.ignore(static_cast<std::streamsize>(count));
  }

  AttributeValue value(uint8_t type) {
    switch (type) {
      case 0:
        return flag();
      case 1:
        return number<int64_t>();
      case 2:
        return number<double>();
      case 3:
        return string();
      case 4: {
        Scalar scalar{dtype(), {}};
        bytes(scalar.bytes, sizeof(scalar.bytes));
        if (scalar.dtype == bool_) {
          scalar.bytes[0] = std::byte{scalar.bytes[0] != std::byte{0}};
        }
        return scalar;
      }
      case 5:
        return axes();
      default:
        return integers();
    }
  }
  Axes axes() {
    Axes result;
    for (int64_t axis : integers()) {
      if (axis < 0 || axis >= std::numeric_limits<int>::max()) {
        fail<ValueError>("[import_function] axis ", axis, " is out of range.");
      }
      result.push_back(static_cast<int>(axis));
    }
    return result;
  }

  std::istream& stream_;
  uint64_t left_;
};

// For messages: a name in a file may be anything.
std::string printable(const std::string& name) {
  std::string result = name.substr(0, 40);
  for (char& c : result) {
    c = c >= ' ' && c <= '~' ? c : '?';
  }
  return result;
}

// Reads numbers of values that exist: `count` ones, and the constants.
std::vector<uint32_t> read_values(Reader& in, size_t count, size_t constants) {
  return in.list(sizeof(uint32_t), [&] {
    const auto value = in.number<uint32_t>();
    const bool is_constant = (value & ExportedGraph::kConstant) != 0;
    if (is_constant ? (value & ~ExportedGraph::kConstant) >= constants : value >= count) {
      fail<ValueError>("[import_function] value ", value, " is none of the ones before it.");
    }
    return value;
  });
}

ExportedGraph::Node read_node(Reader& in, size_t values, size_t constants) {
  ExportedGraph::Node node{in.string(), nullptr, {}, {}, {}};
  node.operation = find_operation(node.name);
  if (!node.operation) {
    fail<ValueError>("[import_function] unknown operation \"", printable(node.name), "\".");
  }
  node.attributes = in.list(6, [&] { return in.attribute(); });
  node.inputs = read_values(in, values, constants);
  if (node.operation->inputs != kAnyInputs &&
      node.inputs.size() != static_cast<size_t>(node.operation->inputs)) {
    fail<ValueError>(
        "[import_function] ",
        node.inputs.size(),
        " inputs of the operation ",
        node.name,
        ", expected ",
        node.operation->inputs,
        ".");
  }
  node.outputs = in.list(5, [&] { return in.spec(); });
  if (node.outputs.empty()) {
    fail<ValueError>("[import_function] the operation ", node.name, " without outputs.");
  }
  return node;
}

ExportedGraph read_graph(Reader& in, const std::vector<array>& constants) {
  ExportedGraph graph;
  graph.shapeless = in.flag();
  graph.arguments = in.list(5, [&] { return in.spec(); });
  graph.keywords = in.list(4, [&] { return in.string(); });
  const bool ascending =
      std::adjacent_find(graph.keywords.begin(), graph.keywords.end(), std::greater_equal<>()) ==
      graph.keywords.end();
  if (graph.keywords.size() > graph.arguments.size() || !ascending) {
    fail<ValueError>("[import_function] the names of the arguments are damaged.");
  }
  for (const uint32_t index : in.list(sizeof(uint32_t), [&] { return in.number<uint32_t>(); })) {
    if (index >= constants.size()) {
      fail<ValueError>("[import_function] there is no constant ", index, " in the file.");
    }
    graph.constants.push_back(constants[index]);
  }
  size_t values = graph.arguments.size();
  graph.nodes = in.list(16, [&] {
    ExportedGraph::Node node = read_node(in, values, graph.constants.size());
    values += node.outputs.size();
    return node;
  });
  graph.outputs = read_values(in, values, graph.constants.size());
  return graph;
}

} // namespace

void write_exported(Sink& sink, const ExportedFile& file) {
  std::vector<array> constants;
  std::unordered_map<const Output*, uint32_t> numbers;
  for (const ExportedGraph& graph : file.graphs) {
    for (const array& a : graph.constants) {
      if (numbers.try_emplace(a.output(), static_cast<uint32_t>(constants.size())).second) {
        constants.push_back(a);
      }
    }
  }
  Writer out(sink);
  out.bytes(kMagic.data(), kMagic.size());
  out.number(kVersion);
  out.string(file.metadata);
  out.list(constants, [&](const array& a) { out.constant(a); });
  out.list(file.graphs, [&](const ExportedGraph& graph) { write_graph(out, graph, numbers); });
  out.flush();
}

ExportedFile read_exported(std::istream& stream, uint64_t bytes) {
  Reader in(stream, bytes);
  char magic[kMagic.size()] = {};
  in.bytes(magic, std::min<uint64_t>(sizeof(magic), bytes));
  if (std::string_view(magic, sizeof(magic)) != kMagic) {
    fail<ValueError>("[import_function] this is no file of exported functions.");
  }
  const auto version = in.number<uint32_t>();
  if (version != kVersion) {
    fail<ValueError>("[import_function] a file of version ", version, ", expected ", kVersion, ".");
  }
  ExportedFile file;
  file.metadata = in.string();
  const std::vector<array> constants = in.list(5, [&] { return in.constant(); });
  file.graphs = in.list(21, [&] { return read_graph(in, constants); });
  if (in.left() > 0) {
    fail<ValueError>("[import_function] ", in.left(), " bytes too many at the end of the file.");
  }
  return file;
}

} // namespace narrows
