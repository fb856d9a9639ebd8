#include "narrows/order/rates.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "null_device.h"

namespace narrows {
namespace {

const Rates kRates{1.5e10, 2.25e11, 1.5e-6, 3e10};
const std::string kKey = "1 cpu 2 device_name=some one";

bool operator==(const Rates& a, const Rates& b) {
  return a.bytes == b.bytes && a.flops == b.flops && a.launch == b.launch &&
         a.copied_bytes == b.copied_bytes;
}

TEST(RatesTest, TextComesBack) {
  Rates found{};
  ASSERT_TRUE(read_rates(text_of(kRates, kKey), kKey, found));
  EXPECT_TRUE(found == kRates);
}

TEST(RatesTest, DamagedTextIsNotTaken) {
  const std::string text = text_of(kRates, kKey);
  Rates found = kRates;
  for (size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] ^= 1;
    EXPECT_FALSE(read_rates(damaged, kKey, found)) << i;
    EXPECT_FALSE(read_rates(text.substr(0, i), kKey, found)) << i;
  }
  EXPECT_FALSE(read_rates(text + "x", kKey, found));
  EXPECT_FALSE(read_rates(text, "another " + kKey, found));
  EXPECT_FALSE(read_rates(text, kKey + " more", found));
  EXPECT_FALSE(read_rates(text_of({0, 1e11, 1e-6, 1e10}, kKey), kKey, found));
  EXPECT_FALSE(read_rates(text_of({1e10, NAN, 1e-6, 1e10}, kKey), kKey, found));
  EXPECT_TRUE(found == kRates);
}

class RatesOfNullDevice : public NullDevice {};

// It computes nothing, so it has no rates.
TEST_F(RatesOfNullDevice, UsualRatesStay) {
  namespace files = std::filesystem;
  const Device cpu{Device::Type::cpu, 0};
  const files::path directory = files::temp_directory_path() / "narrows_rates_of_null";
  files::remove_all(directory);
  const std::string before = rates_directory();
  setenv("NARROWS_CALIBRATION", directory.c_str(), 1);
  EXPECT_EQ(rates_directory(), directory.string());
  const Rates usual = rates_of(cpu);
  measure_rates(cpu);
  EXPECT_TRUE(rates_of(cpu) == usual);
  EXPECT_TRUE(are_plausible(usual));
  EXPECT_FALSE(files::exists(directory));
  setenv("NARROWS_CALIBRATION", "0", 1);
  EXPECT_EQ(rates_directory(), "");
  setenv("NARROWS_CALIBRATION", before.c_str(), 1);
}

} // namespace
} // namespace narrows
