// docs/collectives.md holds the table of costs that the formulas give. With LOCKSTEP_WRITE_DOCS=1 the test
// writes it anew instead of comparing.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "comm/bench_allreduce.h"

namespace lockstep::comm {
namespace {

constexpr auto kPage = LOCKSTEP_SOURCE "/docs/collectives.md";
const std::string kBegin = "<!-- costs -->\n";
const std::string kEnd = "<!-- end of costs -->";

TEST(CollectivesPage, holds_the_costs_that_the_formulas_give) {
  std::ifstream in(kPage);
  const std::string page{std::istreambuf_iterator<char>(in), {}};
  const auto begin = page.find(kBegin);
  const auto end = page.find(kEnd);
  ASSERT_TRUE(begin != std::string::npos && end != std::string::npos && begin < end);
  const std::string table = "\n" + cost_table() + "\n";
  const std::string wanted = page.substr(0, begin + kBegin.size()) + table + page.substr(end);
  if (std::getenv("LOCKSTEP_WRITE_DOCS") != nullptr) {
    std::ofstream(kPage) << wanted;
    return;
  }
  EXPECT_EQ(page, wanted) << "write it anew: LOCKSTEP_WRITE_DOCS=1";
}

TEST(CollectivesPage, names_every_schedule) {
  std::ifstream in(kPage);
  const std::string page{std::istreambuf_iterator<char>(in), {}};
  for (const auto& row : schedules().rows()) {
    EXPECT_NE(page.find("- `" + std::string(row.name) + "`: "), std::string::npos) << row.name;
  }
  EXPECT_EQ(page.find("- `rong`: "), std::string::npos);
}

}  // namespace
}  // namespace lockstep::comm
