#include "core/shape.h"

namespace lockstep {

std::string Shape::text() const {
  std::string text = "[";
  for (const std::int64_t extent : extents_) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(extent);
  }
  return text + "]";
}

}  // namespace lockstep
