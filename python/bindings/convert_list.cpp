#include <cstring>

#include "bindings/convert_parts.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/join.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"

namespace narrows::python {
namespace {

// Deeper lists must be lists that contain themselves.
constexpr size_t kMostDimensions = 64;

bool is_list(PyObject* object) {
  return PyList_Check(object) || PyTuple_Check(object);
}

[[noreturn]] void fail_ragged() {
  fail<ValueError>(
      "[array] the lists are ragged: what stands at the same depth differs in length.");
}

[[noreturn]] void fail_changed() {
  fail<ValueError>("[array] the lists changed while they were read.");
}

// Calls read(item) for each item. It may run Python code that changes the list. So items are held,
// and the length is read again each time.
template <typename Read>
void for_each_item(PyObject* list, int64_t count, Read read) {
  for (int64_t i = 0; i < count; ++i) {
    if (PySequence_Fast_GET_SIZE(list) != count) {
      fail_changed();
    }
    const nb::object item = nb::borrow(PySequence_Fast_GET_ITEM(list, i));
    read(item.ptr());
  }
}

// An array in the lists. If its values are on the host, they are copied with the numbers around it.
// Other arrays stay lazy.
struct Block {
  array value;
  bool on_host;
  int64_t before = 0; // elements on the host in the lists before it
};

// The content of the lists, found in one pass before memory is allocated.
struct ListContents {
  Shape shape; // of the whole
  std::vector<Block> blocks;
  int64_t on_host = 0;   // numbers, and elements of arrays on the host
  bool is_lazy = false;  // some arrays are lazy
  Dtype dtype = float32; // of all, promoted
  bool has_dtype = false;
  nb::object first; // the first array, and its value
  std::optional<Block> first_block;
};

Block read_block(PyObject* object) {
  if (array_inside(object) || !is_foreign(object)) {
    if (!is_operand(object)) {
      fail<ValueError>(
          "[array] got ",
          nb::type_name(nb::handle(object).type()).c_str(),
          " in a list, expected numbers, lists or arrays.");
    }
    return {to_array(object), false};
  }
  const array value = to_array(object);
  const bool on_host =
      value.size() == 0 || (value.is_ready() && is_host_visible(*value.buffer().get()));
  return {value, on_host};
}

// Walks down the first elements.
void find_shape(ListContents& contents, PyObject* list) {
  nb::object item = nb::borrow(list);
  while (is_list(item.ptr())) {
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(item.ptr());
    contents.shape.push_back(count);
    if (contents.shape.size() > kMostDimensions) {
      fail<ValueError>("[array] lists are nested more than ", kMostDimensions, " deep.");
    }
    if (count == 0) {
      return;
    }
    item = nb::borrow(PySequence_Fast_GET_ITEM(item.ptr(), 0));
  }
  if (!is_python_number(item.ptr())) {
    contents.first_block = read_block(item.ptr());
    contents.first = item;
    for (int64_t n : contents.first_block->value.shape()) {
      contents.shape.push_back(n);
    }
  }
}

void add_dtype(ListContents& contents, Dtype dtype) {
  contents.dtype = contents.has_dtype ? promote(contents.dtype, dtype) : dtype;
  contents.has_dtype = true;
}

void examine_block(ListContents& contents, PyObject* object, size_t depth) {
  const bool is_first = contents.blocks.empty() && contents.first.is(object);
  Block block = is_first ? *contents.first_block : read_block(object);
  const Shape& shape = block.value.shape();
  if (shape.size() != contents.shape.size() - depth ||
      !std::equal(shape.begin(), shape.end(), contents.shape.begin() + depth)) {
    fail_ragged();
  }
  add_dtype(contents, block.value.dtype());
  block.before = contents.on_host;
  contents.on_host += block.on_host ? block.value.size() : 0;
  contents.is_lazy |= !block.on_host;
  contents.blocks.push_back(std::move(block));
}

void examine(ListContents& contents, PyObject* object, size_t depth) {
  const bool is_inside = depth < contents.shape.size();
  if (is_list(object)) {
    if (!is_inside || PySequence_Fast_GET_SIZE(object) != contents.shape[depth]) {
      fail_ragged();
    }
    for_each_item(
        object, contents.shape[depth], [&](PyObject* item) { examine(contents, item, depth + 1); });
  } else if (!is_python_number(object)) {
    examine_block(contents, object, depth);
  } else {
    if (is_inside) {
      fail_ragged();
    }
    add_dtype(contents, number_dtype(object));
    ++contents.on_host;
  }
}

// The second pass: writes the elements on the host.
class Writer {
 public:
  Writer(const ListContents& contents, Dtype dtype, std::byte* to)
      : contents_(contents), dtype_(dtype), to_(to) {
  }

  void write(PyObject* object) {
    if (is_list(object)) {
      for_each_item(object, PySequence_Fast_GET_SIZE(object), [&](PyObject* item) { write(item); });
    } else if (is_python_number(object)) {
      const Scalar scalar = number_scalar("array", object, dtype_);
      std::memcpy(place(1), scalar.bytes, static_cast<size_t>(size_of(dtype_)));
    } else {
      write_block();
    }
  }

  // ValueError if the lists have changed since the first pass.
  void finish() const {
    if (written_ != contents_.on_host || block_ != contents_.blocks.size()) {
      fail_changed();
    }
  }

 private:
  std::byte* place(int64_t count) {
    if (count > contents_.on_host - written_) {
      fail_changed();
    }
    std::byte* at = to_ + written_ * size_of(dtype_);
    written_ += count;
    return at;
  }
  void write_block() {
    if (block_ == contents_.blocks.size()) {
      fail_changed();
    }
    const Block& block = contents_.blocks[block_++];
    if (block.on_host && block.value.size() > 0) {
      convert_elements(block.value, dtype_, place(block.value.size()));
    }
  }

  const ListContents& contents_;
  Dtype dtype_;
  std::byte* to_;
  int64_t written_ = 0;
  size_t block_ = 0;
};

// Joins lazy arrays and the elements between them that were on the host.
array join_blocks(const ListContents& contents, const array& on_host, Dtype dtype) {
  std::vector<array> pieces;
  int64_t taken = 0;
  const auto take_up_to = [&](int64_t end) {
    if (end > taken) {
      pieces.push_back(slice(on_host, {taken}, {end}, {1}));
      taken = end;
    }
  };
  for (const Block& block : contents.blocks) {
    if (!block.on_host) {
      take_up_to(block.before);
      pieces.push_back(reshape(astype(block.value, dtype), {block.value.size()}));
    }
  }
  take_up_to(contents.on_host);
  return reshape(concatenate(pieces, 0), contents.shape);
}

} // namespace

array from_list(nb::handle list, std::optional<Dtype> dtype) {
  ListContents contents;
  find_shape(contents, list.ptr());
  checked_size("array", contents.shape);
  examine(contents, list.ptr(), 0);
  const Dtype result = dtype ? *dtype : contents.dtype;
  const Shape shape = contents.is_lazy ? Shape{contents.on_host} : contents.shape;
  const array on_host = host_array("array", shape, result, [&](std::byte* to) {
    Writer writer(contents, result, to);
    writer.write(list.ptr());
    writer.finish();
  });
  return contents.is_lazy ? join_blocks(contents, on_host, result) : on_host;
}

} // namespace narrows::python
