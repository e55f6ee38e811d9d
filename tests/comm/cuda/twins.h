// The same arrays on the host and on a GPU, and what differs between them.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <iomanip>
#include <sstream>
#include <string>
#include <vector>

#include "core/memory.h"
#include "tests/support/gpu.h"

namespace lockstep::comm {

template <class T>
[[nodiscard]] std::vector<T> host_copy(FlatSpan span) {
  std::vector<T> values(static_cast<std::size_t>(span.count));
  copy_to_host(span, values.data());
  return values;
}

/// An array on `device` that holds `values`.
template <class T>
[[nodiscard]] FlatArray array_of(const std::vector<T>& values, Device device) {
  FlatArray array = make_array(device, dtype_of<T>, static_cast<std::int64_t>(values.size()));
  if (!values.empty()) copy_from_host(values.data(), array.span);
  return array;
}

/// Equal bits; else how many elements differ, and the first of them.
template <class T>
[[nodiscard]] testing::AssertionResult same_bits(const std::vector<T>& host, const std::vector<T>& gpu) {
  if (host.size() != gpu.size())
    return testing::AssertionFailure()
           << host.size() << " elements on the host, " << gpu.size() << " on the GPU";
  std::size_t differing = 0, first = 0;
  for (std::size_t i = host.size(); i-- > 0;) {
    if (std::memcmp(&host[i], &gpu[i], sizeof(T)) == 0) continue;
    ++differing;
    first = i;
  }
  if (differing == 0) return testing::AssertionSuccess();
  std::ostringstream text;
  text << std::setprecision(9) << differing << " of " << host.size() << " elements differ, the first is "
       << first << ": " << +host[first] << " on the host, " << +gpu[first] << " on the GPU";
  return testing::AssertionFailure() << text.str();
}

}  // namespace lockstep::comm
