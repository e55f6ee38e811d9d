// lockstep generate CONFIG.yaml --weights FILE --prompt TEXT
#include <cstdio>

#include "trainer/evaluation_run.h"
#include "trainer/programs/command.h"
#include "trainer/programs/config_file.h"

namespace lockstep::programs {

namespace {

cxxopts::Options generate_usage() {
  cxxopts::Options options("lockstep generate", "Continues a text with a trained language model.\n");
  options.positional_help("CONFIG.yaml").show_positional_help();
  options.add_options()  //
      ("config", "the recipe that names model and data (whose tokenizer is used)",
       cxxopts::value<std::string>())  //
      ("w,weights", "checkpoint directory, run directory, safetensors file or HDF5 state dict",
       cxxopts::value<std::string>())                                                      //
      ("p,prompt", "text to continue", cxxopts::value<std::string>()->default_value(""))   //
      ("n,tokens", "tokens to add", cxxopts::value<std::int64_t>()->default_value("200"))  //
      ("temperature", "0 takes the likeliest token, 1 the model's own odds",
       cxxopts::value<double>()->default_value("0.8"))  //
      ("top-k", "draw among the k likeliest tokens; 0: all",
       cxxopts::value<std::int64_t>()->default_value("0"))                                         //
      ("seed", "another seed, another text", cxxopts::value<std::uint64_t>()->default_value("1"))  //
      ("s,set", "override a key of the config", cxxopts::value<std::vector<std::string>>())        //
      ("h,help", "this text");
  options.parse_positional({"config"});
  return options;
}

/// Throws Fault::config for a number that means nothing.
void refuse_negative(const cxxopts::ParseResult& words) {
  const auto check = [](const char* name, double value) {
    if (value < 0)
      throw Error(Fault::config, std::string("--") + name + " must not be negative",
                  "--help says what it means");
  };
  check("tokens", static_cast<double>(words["tokens"].as<std::int64_t>()));
  check("top-k", static_cast<double>(words["top-k"].as<std::int64_t>()));
  check("temperature", words["temperature"].as<double>());
}

int run_generate(Context& context) {
  const auto words = parse_words(generate_usage(), context);
  if (!words) return 0;
  refuse_negative(*words);
  const Config config = load_config(*words);
  const std::string weights = required_word(*words, "weights");
  if (context.world().rank() != 0) return 0;  // one speaks
  trainer::generate(config, weights,
                    {.prompt = (*words)["prompt"].as<std::string>(),
                     .tokens = (*words)["tokens"].as<std::int64_t>(),
                     .temperature = (*words)["temperature"].as<double>(),
                     .top_k = (*words)["top-k"].as<std::int64_t>(),
                     .seed = (*words)["seed"].as<std::uint64_t>()},
                    [](const std::string& piece) {
                      std::fputs(piece.c_str(), stdout);
                      std::fflush(stdout);
                    });
  std::printf("\n");
  return 0;
}

}  // namespace

const Command kGenerate{"generate", "continue a text with a trained language model", run_generate};

}  // namespace lockstep::programs
