#include "trainer/progress.h"

namespace lockstep::trainer {

bool Progress::note_evaluation(double value, bool larger_is_better) {
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

}  // namespace lockstep::trainer
