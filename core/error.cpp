#include "core/error.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace lockstep {

const char* fault_name(Fault fault) noexcept {
  switch (fault) {
    case Fault::config:
      return "config";
    case Fault::data:
      return "data";
    case Fault::communication:
      return "communication";
    case Fault::device:
      return "device";
    case Fault::checkpoint:
      return "checkpoint";
    case Fault::diverged:
      return "diverged";
    case Fault::internal:
      return "internal";
  }
  return "internal";
}

namespace {

/// Levenshtein distance by one row of the dynamic programme.
std::size_t edit_distance(const std::string& from, const std::string& to) {
  std::vector<std::size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= from.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= to.size(); ++j) {
      const std::size_t replace = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replace, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[to.size()];
}

}  // namespace

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 2) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& known) {
  const std::string near = nearest(word, known);
  std::string list = near;
  for (const std::string& name : known) {
    if (name != near) list += (list.empty() ? "" : ", ") + name;
  }
  return (near.empty() ? "" : "did you mean '" + near + "'? ") + "known: " + (list.empty() ? "none" : list);
}

}  // namespace lockstep
