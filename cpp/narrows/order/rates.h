// What devices do in a second, from which the time of steps is estimated.
#pragma once

#include <string>

#include "narrows/runtime/device.h"

namespace narrows {

struct Rates {
  double bytes;  // that steps read and write
  double flops;  // of products
  double launch; // seconds of a step that does nothing
  double
      copied_bytes; // between the device and the host, through page-locked memory if there is any
};

// Those that were measured, else usual ones.
Rates rates_of(Device device);

// Measures them, in some 100 ms, unless that was done before, in this process or in an earlier one:
// then they are read from a file. Where that cannot be done, the usual rates stay. No lock may be
// held, because it waits for the device.
void measure_rates(Device device);

// The same for the default device, where this thread's evaluations have a budget.
void measure_rates_for_budget();

// What measure_rates() uses. The directory is NARROWS_CALIBRATION, else narrows/rates in the user's
// cache directory. Empty: nothing is measured, because NARROWS_CALIBRATION is 0 or empty.
std::string rates_directory();
// Whether these can be the rates of a device.
bool are_plausible(const Rates& rates);
// The text of a file of rates; `key` names the device. Reading it: whether it is whole.
std::string text_of(const Rates& rates, const std::string& key);
bool read_rates(const std::string& text, const std::string& key, Rates& rates);

} // namespace narrows
