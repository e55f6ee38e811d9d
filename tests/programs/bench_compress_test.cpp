// `lockstep bench compress`: figures of codecs and exchanges that fit each other, and refusals.
#include <set>

#include "comm/compress/compressor.h"
#include "tests/programs/program_test.h"

namespace lockstep::programs {
namespace {

class BenchCompress : public ProgramTest {};

TEST_F(BenchCompress, every_compressor_is_timed_and_sends_less_than_the_exact_exchange) {
  run("$MPI -n 2 $L bench compress --gradients 64K -n 1 --values 65536 --rounds 1 --json " + file("c.json"));
  const Json all = json_of(file("c.json"));
  std::set<std::string> seen;
  double exact = 0;
  for (const Json& row : all.at("rows")) {
    seen.insert(row.at("compressor").get<std::string>());
    if (row.at("compressor") == "none") exact = row.at("wire_bytes");
    EXPECT_GT(row.at("time_ms"), 0);
    if (row.at("compressor") == "none") continue;
    EXPECT_LT(row.at("wire_bytes"), 0.51 * exact) << row.dump();
  }
  EXPECT_EQ(exact, 64064 * 4);  // the square nearest to 64,000, up to a whole cache line
  for (const auto& row : comm::compressors().rows())
    EXPECT_EQ(seen.contains(std::string(row.name)), row.name != "auto");
  for (const Json& codec : all.at("codecs")) {
    EXPECT_NEAR(codec.at("ratio"), 4.0 * 65536 / codec.at("payload").get<double>(), 1e-9);
    EXPECT_GT(codec.at("encode_gb_s"), 0);
    EXPECT_GT(codec.at("copy_gb_s"), 0);
  }
}

TEST_F(BenchCompress, a_compressor_takes_settings_and_nonsense_is_refused) {
  run("$L bench compress --values 0 --gradients 4K -n 1 --compressor powersgd:rank=1,min_ratio=1 --json " +
      file("p.json"));
  EXPECT_EQ(json_of(file("p.json")).at("rows").size(), 2);
  for (const char* words : {"--compressor int9", "--compressor int8:rounding", "--gradients little", "-n 0"})
    EXPECT_EQ(shell("$L bench compress --values 0 " + std::string(words)).code, 2) << words;
}

TEST_F(BenchCompress, what_cannot_be_measured_is_refused_before_anything_is) {
  for (const auto& [words, says] :
       std::vector<std::pair<std::string, std::string>>{{"--gradients nope", "'nope'"},
                                                        {"--gradients nan", "'nan'"},
                                                        {"--gradients .inf", "'.inf'"},
                                                        {"--gradients 1e400", "'1e400'"},
                                                        {"--gradients M", "'M'"},
                                                        {"--gradients 0", "'0'"},
                                                        {"--gradients 0.0001K", "'0.0001K'"},
                                                        {"--gradients -5", "'-5'"},
                                                        {"--gradients 4K --compressor int9", "int9"},
                                                        {"--gradients 4K -n 0", "0 iterations"},
                                                        {"--gradients 4K --rounds 0", "0 rounds"},
                                                        {"--codecs-only --rounds -1", "-1 rounds"},
                                                        {"--codecs-only --values -1", "-1 values"}}) {
    const Ran ran = shell("$L bench compress " + words, 20);
    expect_refused(ran, 2, {says});
    EXPECT_FALSE(holds(ran.output, "# codecs")) << words;
  }
}

TEST_F(BenchCompress, codecs_alone_are_timed_down_to_one_value) {
  for (const char* values : {"1", "31", "1000"}) {
    run("$L bench compress --codecs-only --rounds 1 --values " + std::string(values) + " --json " +
        file("c.json"));
    const Json all = json_of(file("c.json"));
    EXPECT_TRUE(all.at("rows").empty());
    EXPECT_GE(all.at("codecs").size(), 10);
    for (const Json& codec : all.at("codecs")) EXPECT_EQ(codec.at("values"), std::stoi(values));
  }
}

}  // namespace
}  // namespace lockstep::programs
