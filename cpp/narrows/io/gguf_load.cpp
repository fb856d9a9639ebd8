#include <algorithm>
#include <bit>
#include <limits>
#include <optional>

#include "narrows/io/gguf.h"
#include "narrows/io/gguf_format.h"
#include "narrows/io/load.h"
#include "narrows/io/named_parts.h"

namespace narrows {
namespace {

static_assert(std::endian::native == std::endian::little, "The format is as memory is.");

// Reads the values in front of the data, one after the other.
class HeaderReader {
 public:
  explicit HeaderReader(const Source& source) : source_(source) {
  }

  uint64_t position() const {
    return position_;
  }
  uint64_t left() const {
    return source_.size() - position_;
  }
  void skip(uint64_t bytes) {
    position_ += bytes;
  }

  void bytes(void* to, uint64_t count) {
    if (count > window_.size()) {
      source_.read(position_, to, count);
    } else {
      std::copy_n(window_at(count), count, static_cast<char*>(to));
    }
    position_ += count;
  }
  template <typename T>
  T number() {
    T value;
    bytes(&value, sizeof(T));
    return value;
  }
  // A count of items that follow, each of at least so many bytes.
  uint64_t count(uint64_t item_bytes, const char* what) {
    const auto value = number<uint64_t>();
    if (value > left() / item_bytes) {
      fail<ValueError>(
          "[load] ",
          source_.name(),
          " has ",
          value,
          " ",
          what,
          " in its last ",
          left(),
          " bytes: it is cut off or damaged.");
    }
    return value;
  }
  std::string string() {
    std::string text(count(1, "bytes of a text"), '\0');
    bytes(text.data(), text.size());
    return text;
  }

 private:
  // `count` bytes. The window is moved if it does not contain them.
  const char* window_at(uint64_t count) {
    if (position_ < begin_ || position_ + count > end_) {
      begin_ = position_;
      end_ = position_ + std::max(count, std::min<uint64_t>(left(), window_.size()));
      source_.read(begin_, window_.data(), end_ - begin_);
    }
    return window_.data() + (position_ - begin_);
  }

  const Source& source_;
  uint64_t position_ = 0;
  uint64_t begin_ = 0; // of what the window holds
  uint64_t end_ = 0;
  std::vector<char> window_ = std::vector<char>(64 << 10);
};

std::optional<BlockFormat> block_format(uint32_t type) {
  switch (type) {
    case gguf::kQ4_0:
      return BlockFormat::q4_0;
    case gguf::kQ4_1:
      return BlockFormat::q4_1;
    case gguf::kQ8_0:
      return BlockFormat::q8_0;
    default:
      return std::nullopt;
  }
}

class FileReader {
 public:
  FileReader(const SourceRef& source, StreamOrDevice s)
      : source_(source), stream_(s), header_(*source) {
  }

  Gguf read() {
    char magic[4];
    header_.bytes(magic, sizeof(magic));
    if (std::string_view(magic, sizeof(magic)) != gguf::kMagic) {
      fail_file("does not begin as a .gguf file does");
    }
    const auto version = header_.number<uint32_t>();
    if (version != 2 && version != 3) {
      fail_file(concat_message("has version ", version, " of .gguf, expected 2 or 3"));
    }
    const auto arrays = header_.count(24, "arrays");
    for (uint64_t left = header_.count(13, "values"); left > 0; --left) {
      read_value();
    }
    std::vector<Entry> entries;
    for (uint64_t i = 0; i < arrays; ++i) {
      entries.push_back(read_entry());
    }
    const uint64_t alignment = this->alignment();
    // The sum cannot wrap: positions are below 2^63.
    data_ = (header_.position() + alignment - 1) / alignment * alignment;
    for (const Entry& entry : entries) {
      add_array(entry);
    }
    require_disjoint(source_->name(), std::move(parts_));
    return std::move(result_);
  }

 private:
  struct Entry {
    std::string name;
    Shape shape;
    uint32_t type;
    uint64_t offset;
  };

  [[noreturn]] void fail_file(const std::string& fault) const {
    fail<ValueError>("[load] ", source_->name(), " ", fault, ".");
  }

  void read_value() {
    const std::string key = header_.string();
    const auto type = header_.number<uint32_t>();
    GgufValue value = type == gguf::kString ? GgufValue(header_.string())
                      : type == gguf::kList ? list_value(key)
                                            : GgufValue(numbers(key, type, {}));
    if (!result_.metadata.emplace(key, std::move(value)).second) {
      fail_file("has two values " + key);
    }
  }
  GgufValue list_value(const std::string& key) {
    const auto type = header_.number<uint32_t>();
    if (type == gguf::kString) {
      std::vector<std::string> texts;
      for (uint64_t left = header_.count(8, "texts"); left > 0; --left) {
        texts.push_back(header_.string());
      }
      return texts;
    }
    return numbers(key, type, {static_cast<int64_t>(header_.count(1, "numbers"))});
  }
  array numbers(const std::string& key, uint32_t type, const Shape& shape) {
    const gguf::TypeNumber* row = gguf::find(gguf::kValueTypes, type);
    if (!row) {
      fail_file(concat_message(
          "has a value ", key, " of type ", type, ", expected texts, numbers or lists of these"));
    }
    const array a = read_array(source_, header_.position(), shape, row->dtype);
    header_.skip(static_cast<uint64_t>(a.nbytes()));
    return a;
  }
  uint64_t alignment() {
    const auto found = result_.metadata.find(std::string(gguf::kAlignmentKey));
    if (found == result_.metadata.end()) {
      return gguf::kDefaultAlignment;
    }
    const array* a = std::get_if<array>(&found->second);
    const uint64_t value = a && a->ndim() == 0 && a->dtype() == uint32 ? *a->data<uint32_t>() : 0;
    if (!std::has_single_bit(value)) {
      fail_file("has a general.alignment that is no uint32 power of two");
    }
    return value;
  }

  Entry read_entry() {
    Entry entry;
    entry.name = header_.string();
    const auto ndim = header_.number<uint32_t>();
    if (ndim > header_.left() / sizeof(uint64_t)) {
      fail_file(concat_message("has an array of ", ndim, " dimensions"));
    }
    for (uint32_t i = 0; i < ndim; ++i) {
      const auto size = header_.number<uint64_t>();
      if (size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        fail_file(concat_message("has an array with a dimension of ", size));
      }
      entry.shape.push_back(static_cast<int64_t>(size));
    }
    std::reverse(entry.shape.begin(), entry.shape.end());
    entry.type = header_.number<uint32_t>();
    entry.offset = header_.number<uint64_t>();
    return entry;
  }

  void add(const std::string& name, const array& a) {
    if (!result_.arrays.emplace(name, a).second) {
      fail_file("has two arrays " + name);
    }
  }
  void add_array(const Entry& entry) {
    if (data_ > source_->size() || entry.offset > source_->size() - data_) {
      fail_file(concat_message(
          "has the array ", entry.name, " at ", entry.offset, ": it is cut off or damaged"));
    }
    const uint64_t begin = data_ + entry.offset;
    uint64_t bytes = 0;
    if (const gguf::TypeNumber* type = gguf::find(gguf::kArrayTypes, entry.type)) {
      const array a = load_array(source_, begin, entry.shape, type->dtype, false, stream_);
      add(entry.name, a);
      bytes = static_cast<uint64_t>(a.nbytes());
    } else if (const auto format = block_format(entry.type)) {
      const QuantizedArrays a = load_blocks(source_, begin, entry.shape, *format, stream_);
      constexpr std::string_view kEnd = ".weight";
      std::string base = entry.name;
      if (base.size() >= kEnd.size() && base.substr(base.size() - kEnd.size()) == kEnd) {
        base.resize(base.size() - kEnd.size());
      }
      add(entry.name, a.numbers);
      add(base + ".scales", a.scales);
      add(base + ".biases", a.biases);
      bytes = static_cast<uint64_t>(a.scales.size() * bytes_of_block(*format));
    } else {
      fail_file(concat_message(
          "has the array ",
          entry.name,
          " of type ",
          entry.type,
          ", expected F32, F16, BF16, F64, an integer type, Q4_0, Q4_1 or Q8_0"));
    }
    if (bytes > 0) {
      parts_.push_back({entry.name, begin, begin + bytes});
    }
  }

  const SourceRef& source_;
  StreamOrDevice stream_;
  HeaderReader header_;
  uint64_t data_ = 0; // the end of the header and its padding
  Gguf result_;
  std::vector<NamedPart> parts_;
};

} // namespace

Gguf load_gguf(const SourceRef& source, StreamOrDevice s) {
  return FileReader(source, s).read();
}

} // namespace narrows
