// lockstep eval CONFIG.yaml --weights FILE
#include <cstdio>

#include "trainer/evaluation_run.h"
#include "trainer/programs/command.h"
#include "trainer/programs/config_file.h"

namespace lockstep::programs {

namespace {

cxxopts::Options eval_usage() {
  cxxopts::Options options(
      "lockstep eval", "Evaluates weights on the config's evaluation split, shared out over the ranks.\n");
  options.positional_help("CONFIG.yaml").show_positional_help();
  options.add_options()                                                                  //
      ("config", "the recipe that names model and data", cxxopts::value<std::string>())  //
      ("w,weights", "checkpoint directory, run directory, safetensors file or HDF5 state dict",
       cxxopts::value<std::string>())                                                                       //
      ("s,set", "override a key: --set eval.split=validation", cxxopts::value<std::vector<std::string>>())  //
      ("predictions",
       "also write prediction, loss and target of every sample to this HDF5 file (classes: scores before "
       "softmax)",
       cxxopts::value<std::string>()->default_value(""))  //
      ("h,help", "this text");
  options.parse_positional({"config"});
  return options;
}

int run_eval(Context& context) {
  const auto words = parse_words(eval_usage(), context);
  if (!words) return 0;
  const Config config = load_config(*words);
  const std::string weights = required_word(*words, "weights");
  const std::string predictions = (*words)["predictions"].as<std::string>();
  const trainer::Evaluation evaluation =
      trainer::evaluate_file(config, weights, context.world(), predictions);
  if (context.rank() != 0) return 0;
  std::printf("eval     %s (%.1f s)\n", trainer::text(evaluation).c_str(), evaluation.seconds);
  if (!predictions.empty()) std::printf("wrote    %s\n", predictions.c_str());
  return 0;
}

}  // namespace

const Command kEval{"eval", "evaluate a checkpoint, a safetensors file or an HDF5 state dict", run_eval};

}  // namespace lockstep::programs
