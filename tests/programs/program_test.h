// What the tests of the `lockstep` command share: a directory of its own with small data sets and configs,
// the command with an exit code and output that were checked, and its files read back.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/programs/shell.h"
#include "tests/trainer/tiny_run.h"

namespace lockstep::programs {

using Json = nlohmann::json;

inline bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Expects exit code `code`, a cure, and every word of `named` in the output.
inline void expect_refused(const Ran& ran, int code, const std::vector<std::string>& named) {
  EXPECT_EQ(ran.code, code) << ran.output;
  EXPECT_PRED2(holds, ran.output, "cure:");
  for (const std::string& word : named) EXPECT_PRED2(holds, ran.output, word);
}

inline void write_text(const std::string& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}
inline std::string text_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  EXPECT_TRUE(in) << file << " is missing";
  return {std::istreambuf_iterator<char>(in), {}};
}
inline Json json_of(const std::string& file) { return Json::parse(text_of(file)); }
/// One JSON object a line.
inline std::vector<Json> lines_of(const std::string& file) {
  std::ifstream in(file);
  std::vector<Json> all;
  for (std::string line; std::getline(in, line);) all.push_back(Json::parse(line));
  return all;
}

/// What follows `mark` in the output up to the next newline or comma; empty when it is not there.
inline std::string after(const std::string& output, const std::string& mark) {
  const std::size_t at = output.find(mark);
  if (at == std::string::npos) return "";
  const std::size_t from = at + mark.size();
  return output.substr(from, output.find_first_of(",\n", from) - from);
}

class ProgramTest : public testing::Test {
 protected:
  [[nodiscard]] std::string file(const std::string& name) const { return scratch_.path() + "/" + name; }
  /// Runs a shell command that must end well; gives its output.
  std::string run(const std::string& command) const {
    const Ran ran = shell(command);
    EXPECT_EQ(ran.code, 0) << command << "\n" << ran.output;
    return ran.output;
  }

  /// A config on small images, and the images. `model` is a YAML mapping.
  void write_images(const std::string& name, const std::string& model,
                    const std::string& rest = "device: " LOCKSTEP_TEST_DEVICE "\n") const {
    trainer::write_tiny_images(file("images.h5"));
    write_text(file(name),
               "model: " + model + "\ndata: {files: [" + file("images.h5") +
                   "]}\nbatch: {global: 16, microbatch: 4}\ntrain: {steps: 6}\nrate: {peak: 0.05}\n" + rest);
  }
  /// A config of a small GPT on characters, and the characters, imported by the program itself.
  void write_gpt(const std::string& name,
                 const std::string& rest = "device: " LOCKSTEP_TEST_DEVICE "\n") const {
    std::string text;
    for (int i = 0; i < 60; ++i) text += "to be or not to be that is the question.\n";
    write_text(file("text.txt"), text);
    const std::string words =
        "$L data import text --input " + file("text.txt") + " --output " + file("text.h5");
    EXPECT_PRED2(holds, run(words), "wrote");
    write_text(file(name),
               "model: {name: gpt2, gpt2: {layers: 2, heads: 2, width: 16, dropout: 0.1}}\ndata: {files: [" +
                   file("text.h5") +
                   "], context: 8}\nbatch: {global: 16, microbatch: 2}\ntrain: {steps: 30}\noptimizer: "
                   "adamw\nrate: {peak: 0.02}\neval: {split: validation}\n" +
                   rest);
  }

 private:
  ScratchDirectory scratch_;
};

}  // namespace lockstep::programs
