// Errors, suggestions and log lines in words: names of faults, the nearest of several, lines of many threads.
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/log.h"
#include "core/registry.h"
#include "tests/core/toy_schema.h"

namespace lockstep {
namespace {

using Names = std::vector<std::string>;

TEST(ErrorWords, every_fault_has_its_name_and_exit_code) {
  const std::vector<std::tuple<Fault, const char*, int>> faults = {{Fault::config, "config", 2},
                                                                   {Fault::data, "data", 3},
                                                                   {Fault::communication, "communication", 4},
                                                                   {Fault::device, "device", 5},
                                                                   {Fault::checkpoint, "checkpoint", 6},
                                                                   {Fault::diverged, "diverged", 7},
                                                                   {Fault::internal, "internal", 70}};
  std::set<int> codes;
  for (const auto& [fault, name, code] : faults) {
    EXPECT_STREQ(fault_name(fault), name);
    EXPECT_EQ(Error(fault, "what").exit_code(), code);
    codes.insert(code);
  }
  EXPECT_EQ(codes.size(), faults.size());
  EXPECT_FALSE(codes.contains(75)) << "75 is for stopping early";
}

TEST(ErrorWords, error_is_caught_as_a_standard_exception_and_copies) {
  try {
    throw Error(Fault::device, "no room");
  } catch (const std::exception& error) {
    EXPECT_STREQ(error.what(), "no room");
  }
  const Error first(Fault::data, "what", "hint");
  const Error second = first;  // NOLINT(performance-unnecessary-copy-initialization)
  EXPECT_STREQ(second.what(), first.what());
  EXPECT_EQ(second.hint(), "hint");
  EXPECT_EQ(Error(Fault::data, "what").hint(), "");
}

TEST(NearestName, prefers_fewer_changes_then_the_earlier_name) {
  EXPECT_EQ(nearest("ring", {"king", "ring", "rings"}), "ring");
  EXPECT_EQ(nearest("rin", {"rung", "ring"}), "ring");
  EXPECT_EQ(nearest("xing", {"king", "ring"}), "king");
  EXPECT_EQ(nearest("adam", {"sgd", "adamw", "lamb"}), "adamw");
}

TEST(NearestName, changes_of_up_to_half_a_word_are_forgiven) {
  EXPECT_EQ(nearest("abcdefgh", {"abcdWXYZ"}), "abcdWXYZ");
  EXPECT_EQ(nearest("abcdefgh", {"abcVWXYZ"}), "");
  EXPECT_EQ(nearest("ab", {"xy"}), "xy") << "two changes are always forgiven";
  EXPECT_EQ(nearest("ab", {"xyz"}), "");
  EXPECT_EQ(nearest("", {"ab"}), "ab");
  EXPECT_EQ(nearest("", {"abc"}), "");
  EXPECT_EQ(nearest("word", {}), "");
}

TEST(NearestName, insertions_deletions_and_changes_count_one_each) {
  for (const char* near : {"momentu", "omentum", "momenntum", "momentim", "xmomentum", "momentumx"}) {
    EXPECT_EQ(nearest(near, {"mementos", "momentum", "moments"}), "momentum") << near;
  }
}

TEST(NearestName, hint_lists_the_nearest_first_and_everything_once) {
  EXPECT_EQ(did_you_mean("sdg", {"adamw", "sgd", "lars"}), "did you mean 'sgd'? known: sgd, adamw, lars");
  EXPECT_EQ(did_you_mean("zzzzzz", {"adamw", "sgd"}), "known: adamw, sgd");
  EXPECT_EQ(did_you_mean("x", {}), "known: none");
}

TEST(RegistryErrors, name_kind_and_cure) {
  const Error unknown = unknown_name("optimizer", "adamv", {"sgd", "adamw"});
  EXPECT_EQ(unknown.fault(), Fault::config);
  EXPECT_STREQ(unknown.what(), "unknown optimizer 'adamv'");
  EXPECT_EQ(unknown.hint(), "did you mean 'adamw'? known: adamw, sgd");
  const Error absent = not_built("device", "cuda");
  EXPECT_STREQ(absent.what(), "device 'cuda' is not in this build");
  EXPECT_NE(absent.hint().find("choose another device"), std::string::npos);
}

class Part {
 public:
  virtual ~Part() = default;
};
using Parts = Registry<Part>;

TEST(RegistryErrors, empty_table_knows_nothing) {
  const Parts none("part", {});
  try {
    (void)none.row("any");
    FAIL() << "found in an empty table";
  } catch (const Error& error) {
    EXPECT_EQ(error.hint(), "known: none");
  }
  EXPECT_TRUE(none.schema("").rows.empty());
}

TEST(RegistryErrors, names_are_compared_whole) {
  static constexpr Parts::Row kPartRows[] = {
      {"ring", "", {}, [](const Options&) { return std::make_unique<Part>(); }}};
  const Parts parts("part", kPartRows);
  for (const char* name : {"", "rin", "rings", "Ring", " ring"})
    EXPECT_THROW((void)parts.row(name), Error) << name;
  EXPECT_NE(parts.create("ring", Options()), nullptr);
}

TEST(ConfigSchema, two_kinds_or_a_kind_and_a_section_of_one_name_are_our_own_mistake) {
  Schema twice = toy::schema();
  twice.kinds.push_back(twice.kinds.front());
  Schema rows = toy::schema();
  rows.kinds.front().rows.push_back(rows.kinds.front().rows.front());
  for (const Schema& schema : {twice, rows}) {
    try {
      (void)Config::parse("train.steps: 1", "toy.yaml", {}, schema);
      ADD_FAILURE() << "a key declared twice was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::internal) << error.what();
    }
  }
}

// ---- log

class LogLines : public testing::Test {
 protected:
  LogLines()
      : file_(std::filesystem::path(testing::TempDir()) /
              (std::string("lockstep_log_lines_") +
               testing::UnitTest::GetInstance()->current_test_info()->name() + ".log")) {
    std::filesystem::remove(file_);
  }
  ~LogLines() override {
    log::use_default_logger();
    std::filesystem::remove(file_);
  }
  [[nodiscard]] Names lines() const {
    Names all;
    std::ifstream file(file_);
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }
  std::filesystem::path file_;
};

TEST_F(LogLines, of_many_threads_stay_whole_and_keep_each_threads_order) {
  log::configure({.rank = 12, .file = file_.string(), .terminal = false});
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([t] {
        for (int i = 0; i < 100; ++i) log::info("thread {} line {}", t, i);
      });
    }
  }
  const auto all = lines();
  ASSERT_EQ(all.size(), 400U);
  std::map<char, int> next;
  for (const auto& line : all) {
    const auto start = line.find(" [info] r12: thread ");
    ASSERT_EQ(start, 8U) << line;
    const char thread = line.at(28);
    EXPECT_EQ(line.substr(29), " line " + std::to_string(next[thread]++)) << line;
  }
}

TEST_F(LogLines, each_level_lets_itself_and_worse_pass) {
  const Names levels = {"trace", "debug", "info", "warn", "error", "off"};
  for (std::size_t least = 0; least < levels.size(); ++least) {
    std::filesystem::remove(file_);
    log::configure({.file = file_.string(), .terminal = false, .level = levels[least]});
    spdlog::trace("a line");
    log::debug("a line");
    log::info("a line");
    log::warn("a line");
    log::error("a line");
    spdlog::default_logger()->flush();
    EXPECT_EQ(lines().size(), 5 - least) << levels[least];
  }
}

TEST_F(LogLines, unknown_level_names_the_nearest_and_keeps_the_old_logger) {
  log::configure({.rank = 4, .file = file_.string(), .terminal = false});
  try {
    log::configure({.rank = 5, .terminal = false, .level = "wran"});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_STREQ(error.what(), "unknown log level 'wran'");
    EXPECT_NE(error.hint().find("did you mean 'warn'?"), std::string::npos) << error.hint();
  }
  log::info("still here");
  ASSERT_EQ(lines().size(), 1U);
  EXPECT_NE(lines()[0].find("r4: still here"), std::string::npos);
}

}  // namespace
}  // namespace lockstep
