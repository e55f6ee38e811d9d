// Small pieces of the host's hot loops.
#pragma once

#include "comm/compress/codes.h"

namespace lockstep::comm {

/// The sum of 16 lanes, in a fixed order.
LOCKSTEP_INLINE float added_lanes(float* lanes) {
  for (int width = 8; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

}  // namespace lockstep::comm
