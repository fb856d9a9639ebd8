#include "bindings/file_objects.h"

#include <nanobind/stl/string.h>

#include <algorithm>
#include <cstring>

#include "narrows/core/errors.h"

namespace narrows::python {

namespace nb = nanobind;

namespace {

std::string name_of_file(nb::handle file) {
  nb::object name = nb::getattr(file, "name", nb::none());
  std::string text;
  return nb::try_cast(name, text, false) ? text : std::string("the file object");
}

bool is_seekable(nb::handle file) {
  return nb::hasattr(file, "seek") && nb::hasattr(file, "tell") &&
         (!nb::hasattr(file, "seekable") || nb::cast<bool>(file.attr("seekable")()));
}

} // namespace

PythonSource::PythonSource(nb::object file, std::optional<uint64_t> size)
    : PythonSource(opened(std::move(file), size)) {
}

PythonSource::PythonSource(Opened opened)
    : Source(name_of_file(opened.file), opened.size, false),
      file_(std::move(opened.file)),
      start_(opened.start) {
}

PythonSource::Opened PythonSource::opened(nb::object file, std::optional<uint64_t> size) {
  if (size) {
    return {std::move(file), 0, *size};
  }
  if (!is_seekable(file)) {
    nb::object all = file.attr("read")();
    file = nb::module_::import_("io").attr("BytesIO")(all);
  }
  const auto start = nb::cast<uint64_t>(file.attr("tell")());
  file.attr("seek")(0, 2);
  const auto end = nb::cast<uint64_t>(file.attr("tell")());
  file.attr("seek")(start);
  return {std::move(file), start, end > start ? end - start : 0};
}

void PythonSource::move_to(uint64_t offset) const {
  if (position_ != offset) {
    file_.attr("seek")(start_ + offset);
    position_ = offset;
  }
}

uint64_t PythonSource::read_some(void* to, uint64_t count) const {
  if (nb::hasattr(file_, "readinto")) {
    nb::object view = nb::steal(PyMemoryView_FromMemory(
        static_cast<char*>(to), static_cast<Py_ssize_t>(count), PyBUF_WRITE));
    nb::object got = file_.attr("readinto")(view);
    view.attr("release")();
    return got.is_none() ? 0 : nb::cast<uint64_t>(got);
  }
  nb::object bytes = file_.attr("read")(count);
  if (!PyBytes_Check(bytes.ptr())) {
    fail<TypeError>(
        "[load] read() gave a ",
        nb::type_name(bytes.type()).c_str(),
        ", expected bytes: a file opened in binary mode.");
  }
  const auto got = static_cast<uint64_t>(PyBytes_GET_SIZE(bytes.ptr()));
  std::memcpy(to, PyBytes_AS_STRING(bytes.ptr()), std::min(got, count));
  return got;
}

void PythonSource::read_within(uint64_t offset, void* to, uint64_t count) const {
  constexpr uint64_t kMostAtOnce = uint64_t{16} << 20;
  move_to(offset);
  char* at = static_cast<char*>(to);
  while (count > 0) {
    const uint64_t wanted = std::min(count, kMostAtOnce);
    const uint64_t got = read_some(at, wanted);
    if (got == 0) {
      fail_shorter();
    }
    if (got > wanted) {
      fail<ValueError>("[load] ", name(), " gave ", got, " bytes, expected at most ", wanted, ".");
    }
    at += got;
    count -= got;
    position_ += got;
  }
}

void PythonSink::write(const void* data, uint64_t bytes) {
  constexpr uint64_t kMostAtOnce = uint64_t{4} << 20;
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const uint64_t wanted = std::min(bytes, kMostAtOnce);
    // copied, because the object may keep it for any time
    nb::object done = file_.attr("write")(nb::bytes(at, wanted));
    uint64_t count = wanted; // write() may return nothing
    if (!nb::try_cast(done, count, false)) {
      count = wanted;
    }
    if (count == 0 || count > wanted) {
      fail<ValueError>("[save] write() of ", wanted, " bytes has written ", count, ".");
    }
    at += count;
    bytes -= count;
  }
}

std::optional<std::string> path_inside(nb::handle file) {
  if (!PyUnicode_Check(file.ptr()) && !nb::hasattr(file, "__fspath__")) {
    return std::nullopt;
  }
  return nb::cast<std::string>(nb::module_::import_("os").attr("fsdecode")(file));
}

} // namespace narrows::python
