// lockstep bench allreduce|compress|step ...
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <optional>

#include "comm/bench_allreduce.h"
#include "comm/compress/bench_averaging.h"
#include "comm/named.h"
#include "core/memory.h"
#include "core/setting_value.h"
#include "core/step_scalars.h"
#include "core/vector/vector.h"
#include "models/bench_step.h"
#include "models/model.h"
#include "trainer/optim/optimizer.h"
#include "trainer/parts.h"
#include "trainer/placement.h"
#include "trainer/programs/bench_compress.h"
#include "trainer/programs/command.h"
#include "trainer/programs/config_file.h"

namespace lockstep::programs {

namespace {

/// "64K", "16M", "1G" or plain bytes.
std::int64_t bytes_of(const std::string& text) {
  constexpr double kMost = 1LL << 60;
  const std::size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::optional<double> value = read_real(text.substr(0, end));
  const std::string unit = text.substr(end);
  for (int power = 0; const char* name : {"", "K", "M", "G"}) {
    const double bytes = value.value_or(kMost) * static_cast<double>(1LL << (10 * power++));
    if (bytes < kMost && (unit == name || unit == std::string(name) + "iB"))
      return static_cast<std::int64_t>(bytes);
  }
  throw Error(Fault::config, "'" + text + "' is not a size", "write bytes, or a number with K, M or G");
}

cxxopts::Options allreduce_usage() {
  cxxopts::Options options(
      "lockstep bench allreduce",
      "Times and verifies all-reduce schedules in the columns of nccl-tests; run it under mpirun.\n");
  options.add_options()                                                                         //
      ("b,min", "smallest size", cxxopts::value<std::string>()->default_value("8"))             //
      ("e,max", "largest size", cxxopts::value<std::string>()->default_value("32M"))            //
      ("f,factor", "from one size to the next", cxxopts::value<int>()->default_value("4"))      //
      ("n,iterations", "timed sums per size", cxxopts::value<int>()->default_value("10"))       //
      ("w,warmup", "sums before them", cxxopts::value<int>()->default_value("2"))               //
      ("d,type", "f32, f64, bf16 or i32", cxxopts::value<std::string>()->default_value("f32"))  //
      ("schedule", "only these: ring,double_tree:segment=4096",
       cxxopts::value<std::vector<std::string>>())                                                          //
      ("device", "cpu or cuda: where the arrays are", cxxopts::value<std::string>()->default_value("cpu"))  //
      ("transport", "auto, mpi or nccl; with settings: mpi:gpu_messages=staged",
       cxxopts::value<std::string>()->default_value("auto"))  //
      ("beside",
       "also time the MPI library's own calls (on GPUs: NCCL's on ordinary memory), and copying as many "
       "bytes, "
       "in turn with the schedules")  //
      ("compress",
       "instead average by these compressors, beside the exact sum (int8,int4:rotate=false,powersgd): time, "
       "wire bytes, error; the schedule, by default the one that training uses, is of exact sums",
       cxxopts::value<std::string>())                                                                       //
      ("own-memory", "sum arrays in ordinary memory, not in memory that the transport lends")               //
      ("costs", "print rounds and bytes of these or all schedules by their formulas, and measure nothing")  //
      ("json", "also write the rows to this file", cxxopts::value<std::string>()->default_value(""))        //
      ("h,help", "this text");
  return options;
}

Error no_json(const std::string& file) {
  return {Fault::config, "cannot write '" + file + "'", "choose another place for --json"};
}

/// On GPUs the library's call on ordinary memory is measured beside the one on memory that it lends.
void measure_beside(comm::World& world, comm::AllreduceBench& bench) {
  bench.beside = comm::contenders_of(world, bench);
  if (bench.device.kind == DeviceKind::cpu || !bench.lent_memory) return;
  auto plain = comm::bench_schedules({"library"}).front();
  bench.schedules.push_back({"library, own memory", plain.schedule, true});
}

/// `bench` with compressors.
int bench_averages(comm::World& world, const cxxopts::ParseResult& given, const comm::AllreduceBench& bench) {
  if (given.count("beside") > 0)
    throw Error(Fault::config, "--beside and --compress are different tables", "give one of them");
  const std::vector<comm::AveragingRow> rows = comm::bench_averaging(
      world, {.common = bench, .compressors = comm::split_parts(given["compress"].as<std::string>())});
  if (world.rank() != 0) return 0;
  std::printf("%s", comm::averaging_table(world, rows).c_str());
  write_json(given["json"].as<std::string>(), comm::averaging_json(world, rows));
  return 0;
}

/// Those that are named, or all; training's beside compressors.
std::vector<comm::BenchSchedule> wanted_schedules(const comm::World& world, const cxxopts::ParseResult& given,
                                                  Device device) {
  std::vector<std::string> names;
  if (given.count("compress") > 0) names.push_back(usual_schedule(world, device));
  if (given.count("schedule") > 0) names = parts_given(given, "schedule");
  return comm::bench_schedules(names);
}

int bench_allreduce(Context& context) {
  const auto words = parse_bench(allreduce_usage(), context);
  if (!words) return 0;
  const cxxopts::ParseResult& given = *words;
  comm::AllreduceBench bench;
  bench.min_bytes = bytes_of(given["min"].as<std::string>());
  bench.max_bytes = bytes_of(given["max"].as<std::string>());
  bench.factor = given["factor"].as<int>();
  bench.iterations = given["iterations"].as<int>();
  bench.warmup = given["warmup"].as<int>();
  bench.dtype = dtype_named(given["type"].as<std::string>());
  if (given.count("costs") > 0) {
    std::printf("%s", comm::cost_table(parts_given(given, "schedule")).c_str());
    return 0;
  }
  comm::World& world = context.world();
  bench.lent_memory = given.count("own-memory") == 0;
  bench.device = device_called(given["device"].as<std::string>(), world);
  bench.schedules = wanted_schedules(world, given, bench.device);
  bench.transport = given["transport"].as<std::string>();
  if (given.count("compress") > 0) return bench_averages(world, given, bench);
  if (given.count("beside") > 0) measure_beside(world, bench);
  const std::vector<comm::AllreduceRow> rows = comm::bench_allreduce(world, bench);
  if (world.rank() != 0) return 0;
  std::printf("%s", comm::bench_table(world, rows).c_str());
  write_json(given["json"].as<std::string>(), comm::bench_json(world, rows));
  return 0;
}

cxxopts::Options step_usage() {
  cxxopts::Options options("lockstep bench step",
                           "Times a training step (forward, backward, update) and each of its operations "
                           "alone, beside the peak of "
                           "a matrix product.\n");
  options.positional_help("CONFIG.yaml").show_positional_help();
  options.add_options()                                                                       //
      ("config", "the recipe that names model and data", cxxopts::value<std::string>())       //
      ("s,set", "override a key of the config", cxxopts::value<std::vector<std::string>>())   //
      ("n,rounds", "medians over so many rounds", cxxopts::value<int>()->default_value("7"))  //
      ("processor-time", "clock the compute thread's processor time: for busy machines")      //
      ("sustain", "also run each family of kernels for so many seconds, beside what bounds it",
       cxxopts::value<double>()->default_value("0"))  //
      ("json", "also write the measurement to this file",
       cxxopts::value<std::string>()->default_value(""))  //
      ("h,help", "this text");
  options.parse_positional({"config"});
  return options;
}

/// What a step does after backward: the gradient's norm, then the optimizer that the config names.
models::StepUpdate update_of(const Config& config) {
  struct Parts {
    std::unique_ptr<trainer::Optimizer> optimizer;
    FlatArray squares, scalars;
  };
  return [&config, parts = std::make_shared<Parts>()](ParameterStore& store, Stream& stream) {
    if (!parts->optimizer) {
      const Device device = store.values().device;
      parts->optimizer = trainer::optimizers().create(config.part_name("optimizer"), config.part("optimizer"),
                                                      store.layout(), device);
      parts->optimizer->own(trainer::whole_of(store.layout()));
      parts->squares = make_array(device, Dtype::f64, 1);
      parts->scalars = make_array(device, Dtype::u8, sizeof(StepScalars));
      const StepScalars scalars{.rate = 1e-6f};
      copy_from_host(&scalars, parts->scalars.span);
    }
    vector::sum_of_squares(store.gradients(), parts->squares.span, stream);
    parts->optimizer->step(store.values(), store.gradients(),
                           static_cast<const StepScalars*>(parts->scalars.span.data), stream);
  };
}

int bench_step(Context& context) {
  const auto words = parse_bench(step_usage(), context);
  if (!words) return 0;
  const Config config = load_config(*words);
  const auto dataset = trainer::open_dataset(config);
  const std::int64_t microbatch = trainer::plan_of(config, *dataset, 0, 1).microbatch;
  const trainer::ReplicaOptions options =
      trainer::replica_options(config, trainer::lone_device(config), microbatch, true);
  const auto model = models::models().create(options.model, options.model_settings);
  const models::OpSpec loss = models::losses().create(options.loss, options.loss_settings)->spec();
  const data::LoaderSpec samples = data::describe_samples(*dataset, config.section("data"), true);
  const models::Graph graph = models::build_graph(*model, trainer::task_of(samples), microbatch, &loss);
  const auto backend = models::make_backend(options.backend, options.backend_options);
  const models::StepBench bench = models::bench_step(graph, *backend,
                                                     {.compute = options.backend_options.compute,
                                                      .threads = options.backend_options.threads,
                                                      .rounds = (*words)["rounds"].as<int>(),
                                                      .processor_time = words->count("processor-time") > 0,
                                                      .sustain_s = (*words)["sustain"].as<double>(),
                                                      .update = update_of(config)});
  std::printf("%s", models::table_of(bench).c_str());
  write_json((*words)["json"].as<std::string>(), models::json_of(bench));
  return 0;
}

struct Bench {
  std::string_view name;
  std::string_view summary;
  int (*run)(Context& context);
};
const Bench kBenches[] = {
    {"allreduce", "times and verifies all-reduce schedules", bench_allreduce},
    {"compress", "times codecs and compressed exchanges", bench_compress},
    {"step", "times a training step operation by operation", bench_step},
};

void print_benches() {
  std::printf("usage: lockstep bench NAME ...\n");
  for (const Bench& bench : kBenches) {
    std::printf("  %-10s %s\n", std::string(bench.name).c_str(), std::string(bench.summary).c_str());
  }
  std::printf(
      "\n`lockstep bench NAME --help` tells the rest. Examples:\n"
      "  mpirun -n 4 lockstep bench allreduce --max 64M\n"
      "  mpirun -n 2 lockstep bench compress --gradients gpt\n"
      "  lockstep bench step configs/quickstart.yaml\n");
}

int run_bench(Context& context) {
  const std::string name = context.argc() > 1 ? context.argv()[1] : "--help";
  if (name == "--help" || name == "-h") {
    print_benches();
    return 0;
  }
  std::vector<std::string> names;
  for (const Bench& bench : kBenches) {
    if (bench.name == name) {
      context.shift();
      return bench.run(context);
    }
    names.emplace_back(bench.name);
  }
  throw unknown_name("bench", name, names);
}

}  // namespace

std::string usual_schedule(const comm::World& world, Device device) {
  return std::string(comm::default_schedule(
      {.host = device.kind == DeviceKind::cpu, .one_node = trainer::on_one_node(world)}));
}

Device device_called(const std::string& name, const comm::World& world) {
  if (name == "cpu") return {};
  if (name == "cuda") return {DeviceKind::cuda, world.local_rank()};
  throw unknown_name("device", name, {"cpu", "cuda"});
}

std::optional<cxxopts::ParseResult> parse_bench(cxxopts::Options options, const Context& context) {
  auto words = parse_words(std::move(options), context);
  if (!words || context.rank() != 0) return words;
  const std::string file = (*words)["json"].as<std::string>();
  if (!file.empty() && !std::ofstream(file, std::ios::app)) throw no_json(file);
  return words;
}

std::vector<std::string> parts_given(const cxxopts::ParseResult& given, const std::string& option) {
  std::vector<std::string> parts;
  if (given.count(option) == 0) return parts;
  for (const std::string& list : given[option].as<std::vector<std::string>>())
    std::ranges::move(comm::split_parts(list), std::back_inserter(parts));
  return parts;
}

void write_json(const std::string& file, const std::string& text) {
  if (file.empty()) return;
  std::ofstream out(file);
  if (!(out << text << "\n").flush()) throw no_json(file);
}

const Command kBench{"bench", "measure all-reduce schedules, compression and training steps", run_bench};

}  // namespace lockstep::programs
