// lockstep export --format safetensors CHECKPOINT OUT
#include <cstdio>
#include <filesystem>

#include "models/model.h"
#include "trainer/checkpoint.h"
#include "trainer/programs/command.h"
#include "trainer/programs/config_file.h"
#include "trainer/safetensors.h"
#include "trainer/schema.h"
#include "trainer/state_dict.h"
#include "trainer/weights.h"

namespace lockstep::programs {

namespace {

cxxopts::Options export_usage() {
  cxxopts::Options options("lockstep export",
                           "Writes a checkpoint's weights under the names that torchvision (resnet, vgg16) "
                           "and Hugging Face (gpt2) use.\n");
  options.positional_help("CHECKPOINT OUT").show_positional_help();
  options.add_options()                                                                       //
      ("checkpoint", "checkpoint directory or run directory", cxxopts::value<std::string>())  //
      ("out", "file to write", cxxopts::value<std::string>())                                 //
      ("format", "safetensors or hdf5 (default: hdf5 when OUT ends in .h5 or .hdf5, else safetensors)",
       cxxopts::value<std::string>()->default_value(""))  //
      ("config", "resolved config of the run (default: config.yaml of the run directory)",
       cxxopts::value<std::string>()->default_value(""))  //
      ("h,help", "this text");
  options.parse_positional({"checkpoint", "out"});
  return options;
}

/// The config beside the checkpoint: RUN/config.yaml for RUN, RUN/checkpoints/step-N and its manifest.
std::string config_beside(const std::string& checkpoint) {
  std::filesystem::path place = std::filesystem::absolute(checkpoint).lexically_normal();
  for (int up = 0; up < 4 && place.has_relative_path(); ++up, place = place.parent_path()) {
    std::error_code unknown;
    if (std::filesystem::exists(place / "config.yaml", unknown)) return (place / "config.yaml").string();
  }
  throw Error(Fault::config, "found no config.yaml above '" + checkpoint + "'", "name it with --config");
}

std::string format_of(const std::string& wanted, const std::filesystem::path& out) {
  if (!wanted.empty()) return wanted;
  return out.extension() == ".h5" || out.extension() == ".hdf5" ? "hdf5" : "safetensors";
}

int run_export(Context& context) {
  const auto words = parse_words(export_usage(), context);
  if (!words || !context.works_alone()) return 0;
  const std::string checkpoint = required_word(*words, "checkpoint");
  const std::string out = required_word(*words, "out");
  const std::string named = (*words)["config"].as<std::string>();
  const Config config =
      Config::load(named.empty() ? config_beside(checkpoint) : named, {}, trainer::config_schema());
  const auto model = models::models().create(config.part_name("model"), config.part("model"));
  const trainer::NamedTensors tensors =
      trainer::with_foreign_names(*model, trainer::tensors_of(trainer::read_shared_state(checkpoint)));
  const std::string format = format_of((*words)["format"].as<std::string>(), out);
  if (format == "safetensors") {
    trainer::write_safetensors(out, tensors);
  } else if (format == "hdf5") {
    trainer::write_state_dict(out, tensors);
  } else {
    throw Error(Fault::config, "there is no export format '" + format + "'", "use safetensors or hdf5");
  }
  std::printf("wrote %zu tensors to %s\n", tensors.size(), out.c_str());
  return 0;
}

}  // namespace

const Command kExport{"export", "write a checkpoint's weights as safetensors or an HDF5 state dict",
                      run_export};

}  // namespace lockstep::programs
