#include "narrows/backend/gpu/kernel_cache.h"

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "narrows/core/errors.h"

namespace narrows::gpu {
namespace {

constexpr uint64_t kMagic = 0x316c656e72656b6e; // "nkernel1"

struct Head {
  uint64_t magic = kMagic;
  uint64_t key_bytes;
  uint64_t content_bytes;
  uint64_t check; // of both
};

uint64_t hash_of(const std::string& bytes, uint64_t hash = 0xcbf29ce484222325) {
  for (const char c : bytes) { // FNV-1a
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  }
  return hash;
}

std::filesystem::path path_of(const std::string& directory, const std::string& key) {
  char name[40];
  const uint64_t other = hash_of(key, 0x9e3779b97f4a7c15);
  std::snprintf(
      name,
      sizeof(name),
      "%016llx%016llx",
      static_cast<unsigned long long>(hash_of(key)),
      static_cast<unsigned long long>(other));
  return std::filesystem::path(directory) / name;
}

} // namespace

std::string kernel_cache_directory() {
  if (const char* chosen = std::getenv("NARROWS_KERNEL_CACHE")) {
    return chosen;
  }
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache && *cache) {
    return std::string(cache) + "/narrows/kernels";
  }
  const char* home = std::getenv("HOME");
  return home && *home ? std::string(home) + "/.cache/narrows/kernels" : std::string();
}

std::optional<std::string> read_cached_kernel(const std::string& key) {
  const std::string directory = kernel_cache_directory();
  if (directory.empty()) {
    return std::nullopt;
  }
  std::ifstream file(path_of(directory, key), std::ios::binary);
  const std::string all((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  Head head;
  if (all.size() < sizeof(head)) {
    return std::nullopt;
  }
  std::memcpy(&head, all.data(), sizeof(head));
  const size_t rest = all.size() - sizeof(head);
  if (head.magic != kMagic || head.key_bytes != key.size() || head.key_bytes > rest ||
      head.content_bytes != rest - key.size() || all.compare(sizeof(head), key.size(), key) != 0) {
    return std::nullopt;
  }
  std::string content = all.substr(sizeof(head) + key.size());
  return head.check == hash_of(content, hash_of(key)) ? std::optional(std::move(content))
                                                      : std::nullopt;
}

void write_cached_kernel(const std::string& key, const std::string& content) {
  const std::string directory = kernel_cache_directory();
  if (directory.empty()) {
    return;
  }
  static std::atomic<int> number{0};
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  const std::filesystem::path path = path_of(directory, key);
  std::filesystem::path beside = path;
  beside += concat_message(".", getpid(), ".", ++number);
  Head head;
  head.key_bytes = key.size();
  head.content_bytes = content.size();
  head.check = hash_of(content, hash_of(key));
  std::ofstream file(beside, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&head), sizeof(head));
  file << key << content;
  file.close();
  if (file) {
    std::filesystem::rename(beside, path, error);
  }
  if (!file || error) {
    std::filesystem::remove(beside, error);
  }
}

} // namespace narrows::gpu
