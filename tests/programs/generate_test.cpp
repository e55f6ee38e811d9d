// `lockstep generate`: the text that a small character GPT writes is a function of weights, prompt and seed.
#include <algorithm>

#include "tests/programs/program_test.h"

namespace lockstep::programs {
namespace {

class Generate : public ProgramTest {
 protected:
  /// Trained until it has learnt the sentence's letters, not the sentence.
  Generate() {
    write_gpt("g.yaml");
    EXPECT_PRED2(holds, run("$L train " + file("g.yaml") + " --run-dir " + file("run")),
                 "done after 30 steps");
  }
  [[nodiscard]] std::string command(const std::string& words) const {
    return "$L generate " + file("g.yaml") + " --weights " + file("run") + " " + words;
  }
  [[nodiscard]] std::string generate(const std::string& words) const { return run(command(words)); }
};

TEST_F(Generate, same_seed_same_text_and_another_seed_another) {
  const std::string text = generate("--prompt 'to be' --tokens 80 --temperature 1 --seed 7");
  EXPECT_EQ(generate("--prompt 'to be' --tokens 80 --temperature 1 --seed 7"), text);
  EXPECT_NE(generate("--prompt 'to be' --tokens 80 --temperature 1 --seed 8"), text);
}

TEST_F(Generate, prompt_comes_first_then_as_many_characters_as_asked) {
  for (const int tokens : {0, 1, 13}) {  // 13 is longer than the context of 8
    const std::string text = generate("-p 'not to' -n " + std::to_string(tokens));
    EXPECT_EQ(text.substr(0, 6), "not to");
    EXPECT_EQ(text.size(), 6u + static_cast<std::size_t>(tokens) + 1) << text;
    EXPECT_EQ(text.back(), '\n');
  }
  EXPECT_EQ(generate("-n 5").size(), 6u) << "no prompt is shown when none was given";
}

TEST_F(Generate, no_prompt_needs_no_end_of_line_in_the_vocabulary) {
  write_text(file("flat.txt"), std::string(200, 'a') + "bc");
  run("$L data import text --input " + file("flat.txt") + " --output " + file("text.h5"));
  run("$L train " + file("g.yaml") + " --set train.steps=1 --run-dir " + file("flat"));
  const std::string text =
      run("$L generate " + file("g.yaml") + " --weights " + file("flat") + " -n 5 --temperature 0");
  EXPECT_EQ(text.size(), 6u) << text;
  EXPECT_EQ(text.find_first_not_of("abc"), 5u) << text;
}

TEST_F(Generate, only_characters_of_the_vocabulary_are_written) {
  const std::string known = "to be or not to be that is the question.\n";
  const std::string text = generate("-p t -n 100 --temperature 2");
  EXPECT_EQ(std::ranges::count_if(text, [&](char c) { return known.find(c) == std::string::npos; }), 0)
      << text;
}

TEST_F(Generate, temperature_zero_is_greedy_whatever_the_seed) {
  const std::string greedy = generate("-p to -n 40 --temperature 0 --seed 1");
  EXPECT_EQ(generate("-p to -n 40 --temperature 0 --seed 2"), greedy);
  EXPECT_EQ(generate("-p to -n 40 --temperature 1 --top-k 1"), greedy) << "one candidate leaves no choice";
  EXPECT_EQ(generate("-p to -n 40 --temperature 0.0001"), greedy) << "the limit of small temperatures";
}

TEST_F(Generate, greedy_text_continues_itself) {
  const std::string whole = generate("-p to -n 12 --temperature 0");
  const std::string half = generate("-p to -n 5 --temperature 0");
  EXPECT_EQ(half.substr(0, 7), whole.substr(0, 7));
  EXPECT_EQ(generate("-p '" + whole.substr(0, 7) + "' -n 7 --temperature 0"), whole);
}

TEST_F(Generate, checkpoint_and_exports_speak_alike) {
  const std::string words = " -p to -n 30 --temperature 0";
  const std::string expected = generate(words);
  run("$L export " + file("run") + " " + file("w.safetensors"));
  run("$L export --format hdf5 " + file("run") + " " + file("w.h5"));
  for (const char* weights : {"w.safetensors", "w.h5"})
    EXPECT_EQ(run("$L generate " + file("g.yaml") + " --weights " + file(weights) + words), expected)
        << weights;
}

TEST_F(Generate, prompt_may_be_longer_than_the_context_of_which_only_the_end_counts) {
  const std::string from = generate("-p 'question to be' -n 10 --temperature 0");
  EXPECT_EQ(from.substr(0, 14), "question to be");
  // Both end in the eight characters that the model sees.
  const std::string same_end = generate("-p 'astion to be' -n 10 --temperature 0");
  EXPECT_EQ(from.substr(14), same_end.substr(12));
}

TEST_F(Generate, what_was_learnt_is_continued) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += "abcdefgh\n";
  write_text(file("alphabet.txt"), text);
  run("$L data import text --input " + file("alphabet.txt") + " --output " + file("text.h5"));
  const std::string words = file("g.yaml") + " --set train.steps=150 --set model.gpt2.dropout=0 --run-dir ";
  EXPECT_PRED2(holds, run("$L train " + words + file("learnt")), "done after 150 steps");
  EXPECT_EQ(
      run("$L generate " + file("g.yaml") + " --weights " + file("learnt") + " -p abc -n 24 --temperature 0"),
      "abcdefgh\nabcdefgh\nabcdefgh\n\n");
  EXPECT_LT(json_of(file("learnt/summary.json")).at("eval").at("perplexity").get<double>(), 1.2);
}

TEST_F(Generate, one_rank_speaks_under_mpirun) {
  EXPECT_EQ(run("$MPI -n 2 " + command("-p to -n 9 --temperature 0")),
            generate("-p to -n 9 --temperature 0"));
}

TEST_F(Generate, unknown_character_of_the_prompt_is_named) {
  expect_refused(shell(command("--prompt Xylophone")), 3, {"U+0058", "vocabulary"});
  expect_refused(shell(command("--prompt 'to be \xC3\xA9'")), 3, {"U+00E9", "byte 6"});
}

TEST_F(Generate, data_without_a_tokenizer_is_refused) {
  write_images("c.yaml", "{name: mlp}");
  expect_refused(shell("$L generate " + file("c.yaml") + " --weights " + file("run") + " -p a"), 2,
                 {"images.h5", "no tokenizer", "data import text"});
}

TEST_F(Generate, weights_must_be_given_and_fit) {
  expect_refused(shell("$L generate " + file("g.yaml") + " -p to"), 2, {"--weights"});
  expect_refused(shell(command("-p to --set model.gpt2.width=8")), 6,
                 {"'transformer.ln_f.weight'", "[16]", "[8]"});
}

}  // namespace
}  // namespace lockstep::programs
