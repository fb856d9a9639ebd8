// Which backend serves which device type in this build and on this machine.
#pragma once

#include "narrows/runtime/backend.h"

namespace narrows {

// The backend of a device type; nullptr if there is none. Called once for each type.
Backend* make_backend(Device::Type type);

} // namespace narrows
