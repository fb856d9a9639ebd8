#include "narrows/io/safetensors.h"

#include <algorithm>
#include <bit>

#include "narrows/io/json.h"
#include "narrows/io/load.h"
#include "narrows/io/named_parts.h"
#include "narrows/run/evaluate.h"

namespace narrows {
namespace {

static_assert(std::endian::native == std::endian::little, "The format is as memory is.");

// The limit of the format's reference library.
constexpr uint64_t kLongestHeader = 100'000'000;

struct TypeName {
  std::string_view name;
  Dtype dtype;
};
constexpr TypeName kTypes[] = {
    {"BOOL", bool_},
    {"U8", uint8},
    {"U16", uint16},
    {"U32", uint32},
    {"U64", uint64},
    {"I8", int8},
    {"I16", int16},
    {"I32", int32},
    {"I64", int64},
    {"F16", float16},
    {"BF16", bfloat16},
    {"F32", float32},
    {"F64", float64},
    {"C64", complex64},
    {"F8_E4M3", uint8}, // the last row for uint8, which is written as U8
};

// The header's entry of an array.
struct Entry {
  std::string type;
  Shape shape;
  std::vector<int64_t> offsets; // of the first byte, and behind the last byte
};

Entry read_entry(JsonReader& json, const std::string& file) {
  Entry entry;
  int seen = 0;
  json.object([&](const std::string& key) {
    if (key == "dtype") {
      seen |= 1;
      entry.type = json.string();
    } else if (key == "shape") {
      seen |= 2;
      entry.shape.clear();
      json.list([&] { entry.shape.push_back(json.count()); });
    } else if (key == "data_offsets") {
      seen |= 4;
      entry.offsets.clear();
      json.list([&] { entry.offsets.push_back(json.count()); });
    } else {
      seen |= 8;
      fail<ValueError>("[load] ", file, " tells \"", key, "\" of an array, which is not known.");
    }
  });
  if (seen != 7 || entry.offsets.size() != 2) {
    fail<ValueError>(
        "[load] ", file, " has a damaged header, expected dtype, shape and two data_offsets.");
  }
  return entry;
}

class FileReader {
 public:
  FileReader(const SourceRef& source, StreamOrDevice s) : source_(source), stream_(s) {
  }

  Safetensors read() {
    const std::string header = read_header();
    JsonReader json(header, "[load] the header of " + source_->name());
    json.object([&](const std::string& key) {
      if (key == "__metadata__") {
        json.object([&](const std::string& name) { result_.metadata[name] = json.string(); });
      } else {
        add_array(key, read_entry(json, source_->name()));
      }
    });
    json.end();
    require_disjoint(source_->name(), std::move(parts_));
    return std::move(result_);
  }

 private:
  std::string read_header() {
    uint64_t length = 0;
    source_->read(0, &length, sizeof(length));
    if (length > kLongestHeader || length > source_->size() - sizeof(length)) {
      fail<ValueError>(
          "[load] ",
          source_->name(),
          " of ",
          source_->size(),
          " bytes has a header of ",
          length,
          " bytes: it is cut off, or no .safetensors file.");
    }
    std::string header(length, '\0');
    source_->read(sizeof(length), header.data(), length);
    data_ = sizeof(length) + length;
    return header;
  }

  void add_array(const std::string& name, const Entry& entry) {
    const auto type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const TypeName& t) {
      return t.name == entry.type;
    });
    if (type == std::end(kTypes)) {
      fail<ValueError>(
          "[load] ",
          source_->name(),
          " has an array ",
          name,
          " of type ",
          entry.type,
          ", expected a type that arrays have.");
    }
    const int64_t bytes =
        checked_multiply("load", checked_size("load", entry.shape), size_of(type->dtype));
    const int64_t begin = entry.offsets[0];
    const int64_t end = entry.offsets[1];
    if (begin > end || end - begin != bytes ||
        static_cast<uint64_t>(end) > source_->size() - data_) {
      fail<ValueError>(
          "[load] ",
          source_->name(),
          " has the array ",
          name,
          " of ",
          bytes,
          " bytes at ",
          begin,
          " to ",
          end,
          " of ",
          source_->size() - data_,
          " bytes: it is cut off or damaged.");
    }
    if (result_.arrays.count(name)) {
      fail<ValueError>("[load] ", source_->name(), " has two arrays ", name, ".");
    }
    result_.arrays[name] = load_array(
        source_, data_ + static_cast<uint64_t>(begin), entry.shape, type->dtype, false, stream_);
    if (bytes > 0) {
      parts_.push_back({name, static_cast<uint64_t>(begin), static_cast<uint64_t>(end)});
    }
  }

  const SourceRef& source_;
  StreamOrDevice stream_;
  uint64_t data_ = 0; // the end of the header
  Safetensors result_;
  std::vector<NamedPart> parts_;
};

std::vector<array> arrays_of(const Safetensors& content) {
  std::vector<array> arrays;
  for (const auto& [name, a] : content.arrays) {
    arrays.push_back(a);
  }
  return arrays;
}

std::string header_of(const Safetensors& content) {
  std::string header = "{";
  const auto add = [&](std::string& to, const std::string& key, const std::string& value) {
    to += (to.size() > 1 ? "," : "") + json_string(key) + ":" + value;
  };
  if (!content.metadata.empty()) {
    std::string metadata = "{";
    for (const auto& [name, text] : content.metadata) {
      add(metadata, name, json_string(text));
    }
    add(header, "__metadata__", metadata + "}");
  }
  int64_t begin = 0;
  for (const auto& [name, a] : content.arrays) {
    const auto type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const TypeName& t) {
      return t.dtype == a.dtype();
    });
    std::string shape;
    for (const int64_t n : a.shape()) {
      shape += (shape.empty() ? "" : ",") + std::to_string(n);
    }
    add(header,
        name,
        concat_message(
            "{\"dtype\":\"",
            type->name,
            "\",\"shape\":[",
            shape,
            "],\"data_offsets\":[",
            begin,
            ",",
            begin + a.nbytes(),
            "]}"));
    begin += a.nbytes();
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' '); // the data begins at a multiple of 8 bytes
  return header;
}

void require_names(const Safetensors& content) {
  if (content.arrays.count("__metadata__")) {
    fail<ValueError>("[save_safetensors] an array __metadata__, expected another name.");
  }
}

} // namespace

Safetensors load_safetensors(const SourceRef& source, StreamOrDevice s) {
  return FileReader(source, s).read();
}

void save_safetensors(Sink& sink, const Safetensors& content) {
  require_names(content);
  eval(arrays_of(content));
  const std::string header = header_of(content);
  const uint64_t length = header.size();
  sink.write(&length, sizeof(length));
  sink.write(header);
  for (const auto& [name, a] : content.arrays) {
    sink.write(a);
  }
}

void save_safetensors(const std::string& path, const Safetensors& content) {
  require_names(content);
  eval(arrays_of(content));
  FileSink file("save_safetensors", path);
  save_safetensors(file, content);
  file.commit();
}

} // namespace narrows
