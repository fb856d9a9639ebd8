// Every kernel file includes this: the other headers of this directory, in the order of their
// dependencies.
#pragma once

#include "metal_compat.h"

#include "limits.h"

#include "math.h"

#include "elements.h"

#include "functors.h"

#include "walk.h"

#include "combine.h"
