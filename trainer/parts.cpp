#include "trainer/parts.h"

#include <algorithm>
#include <vector>

#include "comm/device_transport.h"
#include "models/model.h"
#include "trainer/compression.h"
#include "trainer/placement.h"
#include "trainer/schema.h"

namespace lockstep::trainer {

namespace {

constexpr double kBytesPerMib = 1024.0 * 1024.0;

std::uint64_t seed_of(const Config& config) {
  return static_cast<std::uint64_t>(config.section("run").integer("seed"));
}

/// Library threads of a rank's compute stream; a GPU's needs none.
int threads_of(const Config& config) {
  return backend_for(config) == "cuda" ? 1 : static_cast<int>(device_settings(config).integer("threads"));
}

/// The dtype that `train.precision` computes in.
Dtype compute_dtype(const Config& config) {
  const std::string precision = config.section("train").text("precision");
  const bool gpu = backend_for(config) == "cuda";
  if (!gpu && (precision == "tf32" || precision == "f16")) {
    throw Error(Fault::config, "train.precision " + precision + " needs a GPU",
                "set train.precision to f32 or bf16, or device: cuda");
  }
  return precision == "tf32" ? Dtype::f32 : dtype_named(precision);
}

/// The dtype of the gradient array.
Dtype gradient_dtype(const Config& config) {
  const Options train = config.section("train");
  const Dtype dtype = dtype_named(train.text("gradients"));
  if (dtype == Dtype::f32) return dtype;
  const auto refuse = [](const std::string& why, const std::string& hint) {
    throw Error(Fault::config, "train.gradients bf16 " + why, hint);
  };
  if (backend_for(config) != "cuda")
    refuse("needs a GPU",
           "set device: cuda, or train.gradients to f32; compress.name bf16 sends halves anywhere");
  if (compute_dtype(config) != Dtype::bf16)
    refuse("needs train.precision bf16", "set train.precision to bf16, or train.gradients to f32");
  if (train.boolean("reproducible"))
    refuse("cannot be reproducible: sums of halves depend on ranks", "set train.gradients to f32");
  if (compression_options(config).any())
    refuse("cannot be compressed further", "set compress.name to none and leave compress.rules empty");
  return dtype;
}

StepOptions::Record recording_of(const Config& config) {
  if (backend_for(config) != "cuda") return StepOptions::Record::never;
  const std::string graph = device_settings(config).text("graph");
  return graph == "on"    ? StepOptions::Record::always
         : graph == "off" ? StepOptions::Record::never
                          : StepOptions::Record::where_possible;
}

/// The split that the setting `section`.split names.
std::unique_ptr<data::Dataset> open_split(const Config& config, const std::string& section) {
  const Options settings = config.section("data");
  const std::vector<std::string> files = settings.texts("files");
  if (files.empty()) {
    throw Error(Fault::config, "data.files is empty",
                "name the HDF5 file of the data set; `lockstep data` makes one");
  }
  const std::string split = config.section(section).text("split");
  auto set = data::open_hdf5(files, split, data::cache_bytes_of(settings), section + ".split");
  if (set->size() > 0) return set;
  throw Error(Fault::data, "split '" + split + "' of '" + files.front() + "' has no samples",
              "set " + section + ".split to a split that has some; `lockstep data info` counts them");
}

/// "[1, 28, 28] with targets [] of 10 classes".
std::string sample_text(const data::LoaderSpec& spec) {
  return spec.input.text() + " with targets " + spec.target.text() + " of " + std::to_string(spec.classes) +
         " classes";
}

}  // namespace

std::unique_ptr<data::Dataset> open_dataset(const Config& config) { return open_split(config, "data"); }

std::unique_ptr<data::Dataset> open_evaluation_set(const Config& config) {
  return open_split(config, "eval");
}

std::unique_ptr<data::Dataset> open_evaluation_set(const Config& config, const data::Dataset& trained) {
  auto set = open_evaluation_set(config);
  const Options settings = config.section("data");
  const data::LoaderSpec ours = data::describe_samples(trained, settings, true);
  const data::LoaderSpec theirs = data::describe_samples(*set, settings, false);
  static_cast<void>(make_metric(config.part_name("metric"), config.part("metric"), judged_samples(theirs)));
  if (theirs.input != ours.input || theirs.target != ours.target || theirs.classes != ours.classes) {
    throw Error(Fault::data,
                "samples of eval.split '" + config.section("eval").text("split") + "' are " +
                    sample_text(theirs) + ", those of data.split '" + settings.text("split") + "' " +
                    sample_text(ours),
                "set eval.split to a split of like samples; data.size brings images to one size");
  }
  return set;
}

namespace {

/// Ranks meet in synchronised batch norms once a microbatch.
void check_equal_shares(const Config& config, const BatchPlan& plan, int ranks) {
  const Options model = config.part("model");
  const std::string_view key = "synchronised_norm";
  const auto& declared = models::models().row(config.part_name("model")).settings;
  const bool has_key = std::ranges::any_of(declared, [&](const Setting& each) { return each.key == key; });
  const std::int64_t microbatches = plan.global / plan.microbatch;
  if (microbatches % ranks == 0 || !has_key || !model.boolean(key)) return;
  throw Error(Fault::config,
              model.where(key) + " is on, but " + std::to_string(ranks) + " ranks cannot share " +
                  std::to_string(microbatches) + " microbatches a step equally",
              "choose batch.global and batch.microbatch so that all ranks take as many, or set it to false");
}

}  // namespace

BatchPlan plan_of(const Config& config, const data::Dataset& dataset, int rank, int ranks) {
  const Options settings = config.section("data");
  const std::int64_t samples = data::describe_samples(dataset, settings, true).samples;
  const BatchPlan plan = plan_batches(config.section("batch"), config.section("train"), samples, rank, ranks,
                                      data::tail_of(settings));
  check_equal_shares(config, plan, ranks);
  return plan;
}

std::unique_ptr<data::Loader> open_training_loader(const Config& config, const data::Dataset& dataset,
                                                   const BatchPlan& plan, Device device) {
  return data::make_loader(
      dataset, config.section("data"),
      {.seed = seed_of(config),
       .microbatch = plan.microbatch,
       .shard = plan.shard,
       .tail = data::tail_of(config.section("data")),
       .train = true,
       .allocate = [device](std::size_t bytes) { return allocate_staging(device, bytes); }});
}

ReplicaOptions replica_options(const Config& config, Device device, std::int64_t microbatch, bool training) {
  ReplicaOptions options;
  options.model = config.part_name("model");
  options.model_settings = config.part("model");
  options.loss = config.part_name("loss");
  options.loss_settings = config.part("loss");
  options.backend = backend_for(config);
  options.backend_options.device = device;
  options.backend_options.compute = compute_dtype(config);
  options.backend_options.tf32 = config.section("train").text("precision") == "tf32";
  if (training) options.backend_options.gradients = gradient_dtype(config);
  options.backend_options.repeatable = config.section("train").boolean("reproducible");
  options.backend_options.threads = threads_of(config);
  if (device.kind == DeviceKind::cuda)
    options.backend_options.tune =
        device_settings(config).boolean("tune") && !options.backend_options.repeatable;
  options.microbatch = microbatch;
  options.seed = seed_of(config);
  options.training = training;
  options.recompute = config.section("model").text("recompute") == "blocks";
  return options;
}

StepOptions step_options(const Config& config, const BatchPlan& plan) {
  const Options train = config.section("train");
  const Options exchange = config.section("exchange");
  StepOptions options;
  if (plan.shard.count > 1 && train.text("gradients") == "bf16") {
    throw Error(Fault::config,
                "train.gradients bf16 cannot add up the " + std::to_string(plan.shard.count) +
                    " microbatches of a rank: they accumulate in f32",
                "set batch.microbatch to the batch of a rank, or train.gradients to f32");
  }
  options.microbatches = plan.shard.count;
  options.global_microbatches = plan.shard.per_step;
  options.reproducible = train.boolean("reproducible");
  options.overlap = exchange.boolean("overlap");
  options.rule.clip_norm = train.real("clip_norm");
  options.ema = train.real("ema");
  options.shard = config.section("optimizer").boolean("shard");
  options.rule.scaling.dynamic = train.text("precision") == "f16";
  options.rule.scaling.first = static_cast<float>(train.real("loss_scale"));
  options.record = recording_of(config);
  options.exchange.bucket_bytes = static_cast<std::int64_t>(exchange.real("bucket_mib") * kBytesPerMib);
  options.exchange.first_bucket_bytes =
      static_cast<std::int64_t>(exchange.real("first_bucket_mib") * kBytesPerMib);
  options.exchange.compression = compression_options(config);
  options.exchange.compression.steps = plan.steps;
  return options;
}

EvaluationOptions evaluation_options(const Config& config, std::int64_t microbatch) {
  EvaluationOptions options;
  options.metric = config.part_name("metric");
  options.metric_settings = config.part("metric");
  options.seed = seed_of(config);
  options.microbatch = microbatch;
  options.microbatches = config.section("eval").integer("microbatches");
  if (config.part_name("loss") == "softmax_cross_entropy") {
    options.ignore_index = config.part("loss").integer("ignore_index");
  }
  return options;
}

std::unique_ptr<Stream> compute_stream(const Config& config, Device device) {
  return make_stream(device, {.name = "compute", .threads = threads_of(config)});
}

std::string schedule_name(const Config& config, bool one_node) {
  std::string name = config.part_name("allreduce");
  if (name != kDefaultSchedule) return name;
  return std::string(
      comm::default_schedule({.host = backend_for(config) != "cuda",
                              .one_node = one_node,
                              .reproducible = config.section("train").boolean("reproducible")}));
}

std::unique_ptr<comm::Schedule> make_schedule(const Config& config, bool one_node) {
  const std::string name = schedule_name(config, one_node);
  return comm::schedules().create(name, config.part("allreduce", name));
}

bool on_one_node(const comm::World& world) { return world.local_size() == world.size(); }

void check_reproducible(const Config& config) {
  if (!config.section("train").boolean("reproducible")) return;
  const std::string schedule = schedule_name(config, true);
  if (!make_schedule(config, true)->layout_invariant()) {
    throw Error(
        Fault::config,
        "reproducible mode cannot use allreduce.name '" + schedule + "': its bits depend on ranks or buckets",
        "use allreduce.name halving_doubling or recursive_doubling");
  }
  if (compression_options(config).any()) {
    throw Error(Fault::config,
                "reproducible mode cannot use compress.name '" + config.part_name("compress") +
                    "': what is lost depends on ranks and buckets",
                "set compress.name to none and leave compress.rules empty");
  }
  if (threads_of(config) != 1) {
    throw Error(Fault::config,
                "reproducible mode needs one thread per rank: the number of threads changes the bits of sums",
                "set device." + config.part_name("device") + ".threads to 1");
  }
}

void check_schedule(const Config& config, const comm::World& world) {
  static_cast<void>(make_schedule(config, on_one_node(world))->plan(world.rank(), world.size(), 1));
}

std::unique_ptr<comm::Collectives> connect(const Config& config, comm::World& world, Device device,
                                           std::shared_ptr<const comm::Schedule> schedule) {
  auto transport = comm::connect(config.part_name("transport"), config.part("transport"), *schedule, world,
                                 {device, config.section("run").real("deadline_s")});
  return comm::make_collectives(std::move(transport), std::move(schedule));
}

std::unique_ptr<comm::Collectives> host_collectives(const Config& config, comm::World& world) {
  return comm::make_collectives(world.transport(config.section("run").real("deadline_s")),
                                comm::schedules().create("recursive_doubling", {}));
}

}  // namespace lockstep::trainer
