// A program that uses the installed library: the README's cast on a small scale.
#include <narrows/narrows.h>

#include <cstdio>
#include <vector>

int main() {
  std::vector<narrows::array> arrays;
  for (int i = 0; i < 10; ++i) {
    arrays.push_back(narrows::astype(narrows::ones({16, 8}, narrows::int64), narrows::int8));
  }
  narrows::eval(arrays);
  const bool correct = arrays.back().on_host().data<int8_t>()[127] == 1;
  std::printf("peak %lld bytes\n", static_cast<long long>(narrows::get_peak_memory()));
  return correct ? 0 : 1;
}
