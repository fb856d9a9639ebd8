// Compiled kernels in files, so that the next process need not compile them again.
#pragma once

#include <optional>
#include <string>

namespace narrows::gpu {

// The directory: NARROWS_KERNEL_CACHE, else narrows/kernels in the user's cache directory. Empty if
// nothing is to be kept: NARROWS_KERNEL_CACHE is empty, or there is no such directory.
std::string kernel_cache_directory();

// What was written for a key. The key says all that the content depends on. None if the file is
// missing or damaged, or was written for another key.
std::optional<std::string> read_cached_kernel(const std::string& key);
// Writes beside the file and renames, so that nobody reads half of it. Failures are ignored: then
// the kernel is compiled again next time.
void write_cached_kernel(const std::string& key, const std::string& content);

} // namespace narrows::gpu
