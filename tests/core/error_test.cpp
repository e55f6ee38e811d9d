#include "core/error.h"

#include <gtest/gtest.h>

namespace lockstep {
namespace {

TEST(Error, carries_fault_what_and_hint) {
  const Error error(Fault::data, "label 12 is out of range", "use 12 classes");
  EXPECT_EQ(error.exit_code(), 3);
  EXPECT_STREQ(error.what(), "label 12 is out of range");
  EXPECT_EQ(error.hint(), "use 12 classes");
}

TEST(Nearest, one_letter_off_finds_the_word) {
  EXPECT_EQ(nearest("momentun", {"nesterov", "momentum", "decay"}), "momentum");
}

TEST(Nearest, nothing_alike_is_empty) { EXPECT_EQ(nearest("zzzzzz", {"nesterov", "momentum"}), ""); }

}  // namespace
}  // namespace lockstep
