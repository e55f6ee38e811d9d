// What the command says about itself, and what it answers to words it does not know.
#include "tests/programs/program_test.h"

namespace lockstep::programs {
namespace {

struct Page {
  const char* command;
  std::vector<std::string> mentions;  ///< every option and word that the command takes
};

const Page kPages[] = {
    {"train", {"CONFIG.yaml", "--set", "--run-dir", "--resume", "--dry-run", "--help"}},
    {"eval", {"CONFIG.yaml", "--weights", "--set", "--help"}},
    {"generate",
     {"CONFIG.yaml", "--weights", "--prompt", "--tokens", "--temperature", "--top-k", "--seed", "--set"}},
    {"export", {"CHECKPOINT OUT", "--format", "--config", "safetensors", "hdf5"}},
    {"bench", {"allreduce", "step", "mpirun"}},
    {"bench allreduce",
     {"--min", "--max", "--factor", "--iterations", "--warmup", "--type", "--schedule", "--compress",
      "--json"}},
    {"bench step", {"CONFIG.yaml", "--set", "--rounds", "--processor-time", "--sustain", "--json"}},
    {"data", {"import", "generate", "info", "idx", "cifar", "images", "text", "tokens", "hdf5", "weather"}},
    {"data import", {"idx", "cifar", "images", "text", "tokens", "hdf5"}},
    {"data import idx", {"--input", "--class-names", "--classes", "--output", "--compression"}},
    {"data import cifar", {"--train", "--test", "--variant", "--class-names", "--output"}},
    {"data import images", {"--input", "--size", "--test-fraction", "--seed", "--threads"}},
    {"data import text",
     {"--input", "--validation", "--validation-fraction", "--tokenizer", "--encoder", "--vocabulary",
      "bytes|characters|gpt2"}},
    {"data import tokens", {"--train", "--validation", "--dtype", "--classes", "--encoder", "--vocabulary"}},
    {"data import hdf5",
     {"--input", "--tensors", "--sample-axes", "--held-back", "--validation-fraction", "--classes"}},
    {"data generate", {"weather"}},
    {"data generate weather",
     {"--train", "--test", "--side", "--seed", "--samples-per-file", "--source", "--licence"}},
};

TEST(HelpPages, every_command_mentions_each_of_its_options) {
  for (const Page& page : kPages) {
    for (const char* flag : {" --help", " -h"}) {
      const Ran help = shell(std::string("$L ") + page.command + flag);
      EXPECT_EQ(help.code, 0) << page.command << "\n" << help.output;
      for (const std::string& word : page.mentions) EXPECT_PRED2(holds, help.output, word) << page.command;
    }
  }
}

TEST(HelpPages, overview_is_the_answer_to_nothing_and_to_help) {
  const Ran overview = shell("$L");
  EXPECT_EQ(overview.code, 0);
  EXPECT_EQ(shell("$L help").output, overview.output);
  EXPECT_EQ(shell("$L -h").output, overview.output);
}

/// True when `text` begins with three numbers joined by dots.
bool is_version(const std::string& text) {
  int major = -1, minor = -1, patch = -1;
  return std::sscanf(text.c_str(), "%d.%d.%d", &major, &minor, &patch) == 3;
}

TEST(HelpPages, version_says_what_was_built_in) {
  const Ran version = shell("$L --version");
  EXPECT_EQ(version.code, 0);
  EXPECT_PRED1(is_version, after(version.output, "lockstep ")) << version.output;
  EXPECT_FALSE(after(version.output, "\n  MPI       ").empty()) << version.output;
  EXPECT_PRED1(is_version, after(version.output, "\n  HDF5      ")) << version.output;
  const std::string onednn = after(version.output, "\n  oneDNN    ");
  if (std::string(LOCKSTEP_TEST_DEVICE) == "cpu")
    EXPECT_PRED1(is_version, onednn) << version.output;
  else
    EXPECT_EQ(onednn, "no");
  const std::string cuda = after(version.output, "\n  CUDA      ");
  EXPECT_TRUE(cuda == "no" || cuda.starts_with("yes")) << version.output;
  EXPECT_PRED2(holds, after(version.output, "\n  compiler  "), "++ ");
}

struct Slip {
  const char* words;
  std::vector<std::string> named;
};

void PrintTo(const Slip& slip, std::ostream* out) { *out << slip.words; }

class Slips : public testing::TestWithParam<Slip> {};

TEST_P(Slips, are_refused_with_code_2_and_the_nearest_word) {
  expect_refused(shell(std::string("$L ") + GetParam().words), 2, GetParam().named);
}

INSTANTIATE_TEST_SUITE_P(
    Words, Slips,
    testing::Values(Slip{"evla", {"'evla'", "'eval'"}}, Slip{"zzzzzz", {"'zzzzzz'", "lockstep --help"}},
                    Slip{"train c.yaml --rsume", {"'--rsume'", "did you mean --resume?"}},
                    Slip{"eval c.yaml --wieghts=w.h5", {"'--wieghts'", "did you mean --weights?"}},
                    Slip{"generate c.yaml --temprature 1", {"'--temprature'", "--temperature"}},
                    Slip{"export a b --fromat hdf5", {"'--fromat'", "--format"}},
                    Slip{"bench step c.yaml --roundz 3", {"'--roundz'", "--rounds"}},
                    Slip{"bench alreduce", {"'alreduce'", "'allreduce'"}},
                    Slip{"bench allreduce --max lots", {"'lots' is not a size"}},
                    Slip{"bench allreduce --max 12Q", {"'12Q' is not a size"}},
                    Slip{"bench allreduce --min -8", {"'-8' is not a size"}},
                    Slip{"bench allreduce --type f99", {"f99", "f32"}},
                    Slip{"bench allreduce --iterations many", {"many"}},
                    Slip{"bench allreduce --schedule rign", {"rign", "ring"}},
                    Slip{"data imprt", {"imprt", "import"}}, Slip{"data import txt", {"txt", "text"}},
                    Slip{"data generate wether", {"wether", "weather"}},
                    Slip{"data import text --inptu a", {"'--inptu'", "--input"}},
                    Slip{"data import text --input", {"--input needs a value"}},
                    Slip{"data import text --input a", {"'text' needs --output"}},
                    Slip{"data info", {"no file was named"}}, Slip{"train", {"no config file was named"}},
                    Slip{"train c.yaml train.steps=3", {"'train.steps=3'", "--set"}},
                    Slip{"generate c.yaml --weights w --tokens -1", {"--tokens must not be negative"}},
                    Slip{"generate c.yaml --weights w --temperature -1", {"--temperature"}},
                    Slip{"data generate weather --output w.h5 --side 1",
                         {"lockstep data generate weather", "'side'", "[8,4096]"}},
                    Slip{"export", {"--checkpoint is missing"}}),
    [](const auto& each) { return "slip_" + std::to_string(each.index); });

TEST(Slips, data_without_a_verb_shows_the_overview_and_fails) {
  for (const char* words : {"$L data", "$L data import", "$L data generate"}) {
    const Ran ran = shell(words);
    EXPECT_EQ(ran.code, 2) << words;
    EXPECT_PRED2(holds, ran.output, "usage: lockstep data import NAME") << words;
  }
}

}  // namespace
}  // namespace lockstep::programs
