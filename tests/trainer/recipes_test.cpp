// Every recipe of configs/ holds only keys that exist, uses all that it sets, and opens with the command that
// runs it.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "trainer/schema.h"

namespace lockstep::trainer {
namespace {

std::vector<std::filesystem::path> recipes() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(LOCKSTEP_SOURCE "/configs"))
    files.push_back(entry.path());
  return files;
}

TEST(Recipes, hold_known_keys_and_set_nothing_in_vain) {
  EXPECT_GE(recipes().size(), 8U);
  for (const auto& file : recipes()) {
    const Config config = Config::load(file.string(), {}, config_schema());
    EXPECT_TRUE(config.notes().empty()) << file << ": " << config.notes().front();
    EXPECT_FALSE(config.section("data").texts("files").empty()) << file;
  }
}

TEST(Recipes, name_the_command_that_runs_them) {
  for (const auto& file : recipes()) {
    std::ifstream in(file);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const std::string command = "lockstep train configs/" + file.filename().string();
    EXPECT_NE(text.find(command), std::string::npos) << file << " lacks '" << command << "'";
  }
}

}  // namespace
}  // namespace lockstep::trainer
