// What every kernel file includes: the rest of this directory, in the order in which it builds up.
#pragma once

#include "metal_compat.h"

#include "limits.h"

#include "math.h"

#include "elements.h"

#include "functors.h"

#include "walk.h"

#include "combine.h"
