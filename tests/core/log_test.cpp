// The rank in each line, levels, files, and who writes to the terminal.
#include "core/log.h"

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/error.h"

namespace lockstep {
namespace {

class Log : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::path(::testing::TempDir()) /
        ("lockstep_log_" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override {
    log::use_default_logger();
    std::filesystem::remove_all(folder_);
  }
  [[nodiscard]] std::string file() const { return (folder_ / "logs" / "rank.log").string(); }
  [[nodiscard]] std::string contents() const {
    std::ostringstream text;
    text << std::ifstream(file()).rdbuf();
    return text.str();
  }

 private:
  std::filesystem::path folder_;
};

TEST_F(Log, line_holds_time_level_rank_and_message) {
  log::configure({.rank = 3, .file = file()});
  log::info("loss {:.2f}", 1.5);
  const std::string line = contents();
  ASSERT_GT(line.size(), 8u);
  std::string time = line.substr(0, 8);
  for (char& c : time) c = c >= '0' && c <= '9' ? '9' : c;
  EXPECT_EQ(time, "99:99:99");
  EXPECT_EQ(line.substr(8), " [info] r3: loss 1.50\n");
}

TEST_F(Log, lines_below_the_level_are_dropped) {
  log::configure({.rank = 1, .file = file(), .level = "warn"});
  log::info("quiet");
  log::warn("loud");
  spdlog::default_logger()->flush();
  EXPECT_EQ(contents().find("quiet"), std::string::npos);
  EXPECT_NE(contents().find("r1: loud"), std::string::npos);
}

TEST_F(Log, a_second_configure_appends_to_the_file) {
  log::configure({.rank = 1, .file = file()});
  log::info("first");
  log::configure({.rank = 1, .file = file()});
  log::info("second");
  EXPECT_NE(contents().find("first"), std::string::npos);
  EXPECT_NE(contents().find("second"), std::string::npos);
}

TEST_F(Log, only_rank_zero_has_the_terminal) {
  ::testing::internal::CaptureStderr();
  log::configure({.rank = 0});
  log::info("from zero");
  log::configure({.rank = 1});
  log::error("from one");
  log::configure({.rank = 0, .terminal = false});
  log::error("from nobody");
  const std::string seen = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(seen.find("r0: from zero"), std::string::npos) << seen;
  EXPECT_EQ(seen.find("from one"), std::string::npos);
  EXPECT_EQ(seen.find("from nobody"), std::string::npos);
}

TEST_F(Log, before_configure_only_warnings_reach_stderr) {
  ::testing::internal::CaptureStderr();
  log::use_default_logger();
  log::info("chatter");
  log::warn("careful");
  const std::string seen = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(seen.find("chatter"), std::string::npos);
  EXPECT_NE(seen.find("careful"), std::string::npos);
}

TEST_F(Log, unknown_level_and_unwritable_file_are_refused) {
  EXPECT_THROW(log::configure({.level = "inof"}), Error);
  EXPECT_THROW(log::configure({.file = "/proc/nowhere/rank.log"}), Error);
}

}  // namespace
}  // namespace lockstep
