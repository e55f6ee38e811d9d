#include "trainer/progress.h"

#include <cmath>
#include <cstdio>

namespace lockstep::trainer {

bool Progress::note_evaluation(double value, bool larger_is_better) {
  if (std::isnan(value)) return false;  // nothing would ever be better than that
  const bool better = !best || (larger_is_better ? value > *best : value < *best);
  if (better) {
    best = value;
    best_step = done;
  }
  return better;
}

void Progress::save(StateWriter& writer) const {
  writer.integer("skips", skips);
  if (!best) return;
  writer.real("best", *best);
  writer.integer("best_step", *best_step);
}

void Progress::load(const StateReader& reader, std::int64_t step) {
  skips = reader.integer("skips");
  if (reader.has("best")) {
    best = reader.real("best");
    best_step = reader.integer("best_step");
  }
  first = next = done = saved = step;
}

std::string duration_text(double seconds) {
  char text[48];
  const long long whole = std::llround(seconds), minutes = std::llround(seconds / 60);
  if (whole >= 3600) {
    std::snprintf(text, sizeof text, "%lldh%02lldm", minutes / 60, minutes % 60);
  } else {
    std::snprintf(text, sizeof text, "%lldm%02llds", whole / 60, whole % 60);
  }
  return text;
}

double seconds_left(double elapsed_s, std::int64_t first, std::int64_t done, std::int64_t steps) {
  return elapsed_s / static_cast<double>(done - first) * static_cast<double>(steps - done);
}

}  // namespace lockstep::trainer
