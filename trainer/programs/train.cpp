// lockstep train CONFIG.yaml [--set key=value]... [--run-dir DIR] [--resume] [--dry-run]
#include <cstdio>
#include <cxxopts.hpp>
#include <filesystem>

#include "comm/collectives.h"
#include "comm/worlds.h"
#include "core/log.h"
#include "trainer/parts.h"
#include "trainer/programs/command.h"
#include "trainer/programs/config_file.h"
#include "trainer/signals.h"
#include "trainer/training.h"

namespace lockstep::programs {

namespace {

cxxopts::Options train_usage() {
  cxxopts::Options options("lockstep train",
                           "Trains the model of a config file, alone or under mpirun / srun.\n");
  options.positional_help("CONFIG.yaml").show_positional_help();
  options.add_options()                                                                                    //
      ("config", "the recipe, such as configs/quickstart.yaml", cxxopts::value<std::string>())             //
      ("s,set", "override a key: --set optimizer.name=adamw", cxxopts::value<std::vector<std::string>>())  //
      ("run-dir", "where the run keeps its files (default: runs/<config>-<number>)",
       cxxopts::value<std::string>()->default_value(""))                                     //
      ("resume", "continue from the newest checkpoint of --run-dir")                         //
      ("dry-run", "print the plan: operations, parameters, memory, buckets; train nothing")  //
      ("h,help", "this text");
  options.parse_positional({"config"});
  return options;
}

/// The run directory that rank 0 made, known to all.
std::string agree_on_directory(comm::World& world, const Config& config, const cxxopts::ParseResult& words) {
  comm::Control control(comm::make_collectives(world.transport(config.section("run").real("deadline_s")),
                                               comm::schedules().create("recursive_doubling", Options())));
  std::string directory;
  if (world.rank() == 0) {
    const std::string name = std::filesystem::path(words["config"].as<std::string>()).stem().string();
    directory = trainer::make_run_directory(words["run-dir"].as<std::string>(), name,
                                            words.count("resume") > 0, config.resolved());
  }
  return control.broadcast(directory);
}

int run_train(Context& context) {
  const auto words = parse_words(train_usage(), context);
  if (!words) return 0;
  const Config config = load_config(*words);
  if (words->count("resume") > 0 && (*words)["run-dir"].as<std::string>().empty())
    throw Error(Fault::config, "--resume does not say which run", "name its directory with --run-dir");
  if (words->count("dry-run") > 0) {
    const comm::World& world = context.world();
    const bool one_node = trainer::on_one_node(world);
    if (world.rank() == 0) std::printf("%s", trainer::describe_plan(config, world.size(), one_node).c_str());
    return 0;
  }
  comm::World& world = context.world();
  const auto run = trainer::prepare_run(config, world);  // a run that is refused leaves no directory
  const std::string directory = agree_on_directory(world, config, *words);
  log::configure(
      {.rank = world.rank(), .file = directory + "/rank-" + std::to_string(world.rank()) + ".log"});
  const auto log = world.rank() == 0
                       ? trainer::make_run_log(directory, config.section("run").integer("log_every"))
                       : trainer::make_silent_log();
  for (const std::string& note : config.notes()) log->note(note);
  const trainer::SignalWatch signals;
  return run
      ->run(*log, {.run_directory = directory,
                   .resume = words->count("resume") > 0,
                   .asked_to_stop = [&signals] { return signals.name(); }})
      .exit_code;
}

}  // namespace

const Command kTrain{"train", "train a model, alone or under mpirun / srun", run_train};

}  // namespace lockstep::programs
