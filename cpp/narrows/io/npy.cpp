#include "narrows/io/npy.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <optional>

#include "narrows/io/load.h"
#include "narrows/ops/strided.h"
#include "narrows/run/evaluate.h"

namespace narrows {
namespace {

static_assert(std::endian::native == std::endian::little, "'<' in files is the machine's order.");

constexpr std::string_view kMagic = "\x93NUMPY";
// Headers are some hundred bytes long.
constexpr uint64_t kLongestHeader = uint64_t{1} << 20;

struct TypeCode {
  std::string_view code; // of the kind and the size
  Dtype dtype;
};
constexpr TypeCode kTypes[] = {
    {"b1", bool_},
    {"u1", uint8},
    {"u2", uint16},
    {"u4", uint32},
    {"u8", uint64},
    {"i1", int8},
    {"i2", int16},
    {"i4", int32},
    {"i8", int64},
    {"f2", float16},
    {"V2", bfloat16},
    {"f4", float32},
    {"f8", float64},
    {"c8", complex64},
};

struct Header {
  Dtype dtype = float32;
  bool swapped = false;
  bool column_major = false;
  Shape shape;
};

// Reads the header: a dict in Python's notation, of three known keys.
class HeaderReader {
 public:
  HeaderReader(std::string_view text, const std::string& file) : text_(text), file_(file) {
  }

  Header read() {
    Header header;
    bool seen[3] = {};
    expect('{');
    while (!take('}')) {
      const std::string_view key = string();
      expect(':');
      if (key == "descr") {
        seen[0] = true;
        read_type(header);
      } else if (key == "fortran_order") {
        seen[1] = true;
        header.column_major = boolean();
      } else if (key == "shape") {
        seen[2] = true;
        header.shape = shape();
      } else {
        fail_header();
      }
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip_blanks();
    if (!text_.empty() || !seen[0] || !seen[1] || !seen[2]) {
      fail_header();
    }
    return header;
  }

 private:
  [[noreturn]] void fail_header() const {
    fail<ValueError>(
        "[load] ",
        file_,
        " has a damaged .npy header, expected 'descr', 'fortran_order' and 'shape'.");
  }
  void skip_blanks() {
    text_.remove_prefix(std::min(text_.find_first_not_of(" \n\t\r"), text_.size()));
  }
  bool take(std::string_view word) {
    skip_blanks();
    const bool found = text_.substr(0, word.size()) == word;
    text_.remove_prefix(found ? word.size() : 0);
    return found;
  }
  bool take(char c) {
    return take(std::string_view(&c, 1));
  }
  void expect(char c) {
    if (!take(c)) {
      fail_header();
    }
  }
  std::string_view string() {
    skip_blanks();
    const char quote = text_.empty() ? '\0' : text_[0];
    const size_t end = text_.find(quote, 1);
    if ((quote != '\'' && quote != '"') || end == std::string_view::npos) {
      fail_header();
    }
    const std::string_view result = text_.substr(1, end - 1);
    text_.remove_prefix(end + 1);
    return result;
  }
  bool boolean() {
    const bool yes = take("True");
    if (!yes && !take("False")) {
      fail_header();
    }
    return yes;
  }
  Shape shape() {
    Shape result;
    expect('(');
    while (!take(')')) {
      skip_blanks();
      int64_t size = 0;
      const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), size);
      if (error != std::errc() || size < 0) {
        fail_header();
      }
      text_.remove_prefix(static_cast<size_t>(end - text_.data()));
      take('L'); // as Python 2 wrote it
      result.push_back(size);
      if (!take(',')) {
        expect(')');
        break;
      }
    }
    return result;
  }
  void read_type(Header& header) {
    skip_blanks();
    const bool is_text = !text_.empty() && (text_[0] == '\'' || text_[0] == '"');
    const std::string_view type = is_text ? string() : "a structure";
    const std::string_view orders = "<>|=";
    const bool has_order = is_text && !type.empty() && orders.find(type[0]) != orders.npos;
    const std::string_view code = type.substr(has_order ? 1 : 0);
    const auto at = std::find_if(
        std::begin(kTypes), std::end(kTypes), [&](const TypeCode& t) { return t.code == code; });
    if (at == std::end(kTypes)) {
      fail<ValueError>(
          "[load] ", file_, " has elements of type ", type, ", expected a type that arrays have.");
    }
    header.dtype = at->dtype;
    header.swapped = has_order && type[0] == '>';
  }

  std::string_view text_;
  const std::string& file_;
};

template <typename T>
T number_at(const Source& source, uint64_t offset) {
  T value;
  source.read(offset, &value, sizeof(T));
  return value;
}

// Reads the header at `offset`, and moves `offset` to the elements.
Header read_header(const Source& source, uint64_t& offset) {
  char start[8];
  source.read(offset, start, sizeof(start));
  if (std::string_view(start, kMagic.size()) != kMagic) {
    fail<ValueError>("[load] ", source.name(), " does not begin as a .npy file does.");
  }
  const int version = start[6];
  if (version < 1 || version > 3) {
    fail<ValueError>(
        "[load] ", source.name(), " has version ", version, " of .npy, expected 1, 2 or 3.");
  }
  const bool is_short = version == 1;
  const uint64_t length =
      is_short ? number_at<uint16_t>(source, offset + 8) : number_at<uint32_t>(source, offset + 8);
  offset += is_short ? 10 : 12;
  if (length > kLongestHeader) {
    fail<ValueError>("[load] ", source.name(), " has a .npy header of ", length, " bytes.");
  }
  std::string text(std::min(length, source.size() - offset), '\0');
  source.read(offset, text.data(), length > text.size() ? length : text.size());
  offset += length;
  return HeaderReader(text, source.name()).read();
}

} // namespace

array load_npy(const SourceRef& source, uint64_t offset, StreamOrDevice s, uint64_t* end) {
  const Header header = read_header(*source, offset);
  Shape shape = header.shape;
  if (header.column_major) {
    std::reverse(shape.begin(), shape.end());
  }
  const array a = load_array(source, offset, shape, header.dtype, header.swapped, s);
  if (end) {
    *end = offset + static_cast<uint64_t>(a.nbytes());
  }
  return header.column_major ? transpose(a, s) : a;
}

void save_npy(Sink& sink, const array& a) {
  eval(a);
  const auto at = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const TypeCode& t) {
    return t.dtype == a.dtype();
  });
  const bool has_order = size_of(a.dtype()) > 1;
  std::string header = concat_message(
      "{'descr': '",
      has_order ? "<" : "|",
      at->code,
      "', 'fortran_order': False, 'shape': ",
      to_string(a.shape()),
      ", }");
  // The elements begin at a multiple of 64 bytes, behind a line feed. The header's length has 2 or
  // 4 bytes.
  const bool is_short = header.size() + 64 <= 0xffff;
  const size_t before = is_short ? 10 : 12;
  header.append(63 - (before + header.size()) % 64, ' ');
  header.push_back('\n');
  const uint32_t length = static_cast<uint32_t>(header.size());
  sink.write(kMagic);
  sink.write(is_short ? std::string_view("\1\0", 2) : std::string_view("\2\0", 2));
  sink.write(&length, is_short ? 2 : 4);
  sink.write(header);
  sink.write(a);
}

void save(const std::string& path, const array& a) {
  eval(a);
  FileSink file("save", path);
  save_npy(file, a);
  file.commit();
}

} // namespace narrows
