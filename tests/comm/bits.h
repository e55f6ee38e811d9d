// Random arrays of several ranks, their sums by a schedule in memory, and how many bits of two results
// differ.
#pragma once

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "tests/comm/plans.h"

namespace lockstep::comm {

inline std::vector<std::vector<float>> normals(int ranks, std::int64_t count) {
  std::mt19937 generator(7);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> arrays(static_cast<std::size_t>(ranks),
                                         std::vector<float>(static_cast<std::size_t>(count)));
  for (auto& array : arrays) std::generate(array.begin(), array.end(), [&] { return normal(generator); });
  return arrays;
}

template <class T>
bool equal_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <class T>
std::size_t differing(const std::vector<T>& a, const std::vector<T>& b) {
  std::size_t different = 0;
  for (std::size_t i = 0; i < a.size(); ++i) different += std::memcmp(&a[i], &b[i], sizeof(T)) != 0;
  return different;
}

/// The sum of the whole array when it is exchanged in one bucket, or in two cut at `cut`.
inline std::vector<float> summed_whole(const Schedule& schedule, std::vector<std::vector<float>> arrays) {
  run_plans(schedule, arrays);
  return arrays[0];
}
inline std::vector<float> summed_in_two(const Schedule& schedule,
                                        const std::vector<std::vector<float>>& arrays, int cut) {
  std::vector<std::vector<float>> first, second;
  for (const auto& array : arrays) {
    first.emplace_back(array.begin(), array.begin() + cut);
    second.emplace_back(array.begin() + cut, array.end());
  }
  run_plans(schedule, first);
  run_plans(schedule, second);
  first[0].insert(first[0].end(), second[0].begin(), second[0].end());
  return first[0];
}

}  // namespace lockstep::comm
