#include "narrows/io/gguf.h"
#include "narrows/io/gguf_format.h"
#include "narrows/run/evaluate.h"

namespace narrows {
namespace {

uint64_t padding(uint64_t bytes) {
  constexpr uint64_t kAlignment = gguf::kDefaultAlignment;
  return (kAlignment - bytes % kAlignment) % kAlignment;
}

// Collects the bytes in front of the data.
class HeaderWriter {
 public:
  const std::string& bytes() const {
    return bytes_;
  }
  template <typename T>
  void number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void string(std::string_view text) {
    number(static_cast<uint64_t>(text.size()));
    bytes_.append(text);
  }

  void value(const std::string& text) {
    number(gguf::kString);
    string(text);
  }
  void value(const std::vector<std::string>& texts) {
    number(gguf::kList);
    number(gguf::kString);
    number(static_cast<uint64_t>(texts.size()));
    for (const std::string& text : texts) {
      string(text);
    }
  }
  void value(const array& a) {
    if (a.ndim() == 1) {
      number(gguf::kList);
    }
    number(gguf::find(gguf::kValueTypes, a.dtype())->number);
    if (a.ndim() == 1) {
      number(static_cast<uint64_t>(a.size()));
    }
    TextSink sink(bytes_);
    static_cast<Sink&>(sink).write(a);
  }

 private:
  struct TextSink final : Sink {
    explicit TextSink(std::string& text) : text(text) {
    }
    void write(const void* data, uint64_t count) override {
      text.append(static_cast<const char*>(data), count);
    }
    std::string& text;
  };

  std::string bytes_;
};

void require_supported(const Gguf& content) {
  for (const auto& [name, a] : content.arrays) {
    if (!gguf::find(gguf::kArrayTypes, a.dtype())) {
      fail<ValueError>(
          "[save_gguf] the array ",
          name,
          " has dtype ",
          name_of(a.dtype()),
          ", expected a floating point or signed integer type.");
    }
  }
  for (const auto& [name, value] : content.metadata) {
    const array* a = std::get_if<array>(&value);
    if (a && (a->ndim() > 1 || !gguf::find(gguf::kValueTypes, a->dtype()))) {
      fail<ValueError>(
          "[save_gguf] the value ",
          name,
          " has shape ",
          to_string(a->shape()),
          " and dtype ",
          name_of(a->dtype()),
          ", expected no or one dimension, and no 16-bit or complex numbers.");
    }
    if (name == gguf::kAlignmentKey) {
      fail<ValueError>(
          "[save_gguf] a value ",
          name,
          ", expected other names: it is always ",
          gguf::kDefaultAlignment,
          ".");
    }
  }
}

void evaluate(const Gguf& content) {
  std::vector<array> arrays;
  for (const auto& [name, a] : content.arrays) {
    arrays.push_back(a);
  }
  for (const auto& [name, value] : content.metadata) {
    if (const array* a = std::get_if<array>(&value)) {
      arrays.push_back(*a);
    }
  }
  eval(arrays);
}

std::string header_of(const Gguf& content) {
  HeaderWriter header;
  header.number(uint32_t{3});
  header.number(static_cast<uint64_t>(content.arrays.size()));
  header.number(static_cast<uint64_t>(content.metadata.size()));
  for (const auto& [name, value] : content.metadata) {
    header.string(name);
    std::visit([&](const auto& v) { header.value(v); }, value);
  }
  uint64_t offset = 0;
  for (const auto& [name, a] : content.arrays) {
    header.string(name);
    header.number(static_cast<uint32_t>(a.ndim()));
    for (int i = a.ndim() - 1; i >= 0; --i) {
      header.number(static_cast<uint64_t>(a.shape(i)));
    }
    header.number(gguf::find(gguf::kArrayTypes, a.dtype())->number);
    header.number(offset);
    const auto bytes = static_cast<uint64_t>(a.nbytes());
    offset += bytes + padding(bytes);
  }
  return std::string(gguf::kMagic) + header.bytes();
}

} // namespace

void save_gguf(Sink& sink, const Gguf& content) {
  require_supported(content);
  evaluate(content);
  const std::string header = header_of(content);
  sink.write(header);
  sink.write_zeros(padding(header.size()));
  for (const auto& [name, a] : content.arrays) {
    sink.write(a);
    sink.write_zeros(padding(static_cast<uint64_t>(a.nbytes())));
  }
}

void save_gguf(const std::string& path, const Gguf& content) {
  require_supported(content);
  evaluate(content);
  FileSink file("save_gguf", path);
  save_gguf(file, content);
  file.commit();
}

} // namespace narrows
