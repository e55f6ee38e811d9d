// A refusal is an Error of the right fault that names what is wrong and how to cure it.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/error.h"

namespace lockstep {

/// Expects `action` to throw an Error of `fault`, with a cure, whose sentence holds each of `words`.
template <class Action>
void expect_error(Fault fault, const std::vector<std::string>& words, const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), fault) << error.what();
    EXPECT_FALSE(error.hint().empty()) << error.what();
    for (const std::string& word : words)
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << word << "\n" << error.what();
    return;
  }
  ADD_FAILURE() << "accepted what " << fault_name(fault) << " should refuse"
                << (words.empty() ? "" : ": " + words.front());
}

}  // namespace lockstep
