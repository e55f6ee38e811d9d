#include "comm/autotune/autotune.h"

#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "comm/autotune/sweep.h"
#include "comm/bench_allreduce.h"
#include "comm/collectives.h"
#include "comm/device_transport.h"
#include "comm/named.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"

namespace lockstep::comm {
namespace {

constexpr std::int64_t kBuckets[] = {1 << 20, 4 << 20, 8 << 20, 25 << 20, 64 << 20};
constexpr std::size_t kMeasured = 3;  // the best predicted ones are measured

/// Where sums are timed in place of predicted: no plan says what they do.
std::vector<std::string> without_plan(const TuneTask& task, bool reach) {
  if (task.device.kind == DeviceKind::cpu) return {"shared", "library"};
  return reach ? std::vector<std::string>{"library", "peer"} : std::vector<std::string>{"library"};
}

/// Collective. Whether the GPUs of all ranks map each other's memory.
bool peers_reach(World& world, const TuneTask& task) {
  if (task.device.kind == DeviceKind::cpu || world.size() == 1) return false;
  try {
    const auto [name, settings] = part_called(transports(), "mpi");
    static_cast<void>(
        connect(name, settings, *schedule_called("peer"), world, {task.device, task.deadline_s}));
    return true;
  } catch (const Error& error) {
    if (error.fault() != Fault::device && error.fault() != Fault::config) throw;
    return false;  // on all ranks alike
  }
}

/// Of `bytes` of fp32 gradients, on the wire.
std::int64_t wire_bytes(const TuneTask& task, std::int64_t bytes) {
  return bytes / static_cast<std::int64_t>(sizeof(float)) * static_cast<std::int64_t>(size_of(task.dtype));
}

std::vector<std::int64_t> bucket_sizes(const TuneTask& task) {
  if (task.bucket_bytes > 0) return {task.bucket_bytes};
  return {std::begin(kBuckets), std::end(kBuckets)};
}

bool faster(const TuneRow& a, const TuneRow& b) { return a.step_s < b.step_s; }

std::vector<TuneRow> predictions(const CostModel& model, const Topology& topology, const TuneTask& task,
                                 bool reach) {
  std::vector<TuneRow> rows;
  for (const std::string& name : tune_candidates(task, reach)) {
    const auto schedule = schedule_called(name);
    for (const std::int64_t bucket : bucket_sizes(task)) {
      const auto sum_s = [&](std::int64_t bytes) {
        return predicted_s(model, name, *schedule, topology, wire_bytes(task, bytes));
      };
      rows.push_back({.schedule = name,
                      .bucket_bytes = bucket,
                      .predicted_sum_s = sum_s(std::min(bucket, task.total_bytes)),
                      .step_s = predicted_step_s(task.backward_s, task.total_bytes, bucket,
                                                 task.first_bucket_bytes, sum_s)});
    }
  }
  std::stable_sort(rows.begin(), rows.end(), faster);
  return rows;
}

/// Measures a candidate's sum of a whole bucket, and scales its predicted sums to that.
void verify(World& world, const CostModel& model, const Topology& topology, const TuneTask& task,
            TuneRow& row) {
  const std::int64_t bytes = wire_bytes(task, std::min(row.bucket_bytes, task.total_bytes));
  AllreduceBench bench{.min_bytes = bytes,
                       .max_bytes = bytes,
                       .warmup = 1,
                       .iterations = 3,
                       .dtype = task.dtype,
                       .deadline_s = task.deadline_s,
                       .device = task.device,
                       .transport = task.transport,
                       .schedules = bench_schedules({row.schedule})};
  row.measured_sum_s = bench_allreduce(world, bench).front().min_s;
  const auto schedule = schedule_called(row.schedule);
  const double scale = row.measured_sum_s / std::max(row.predicted_sum_s, 1e-9);
  row.step_s = predicted_step_s(
      task.backward_s, task.total_bytes, row.bucket_bytes, task.first_bucket_bytes, [&](std::int64_t part) {
        return scale * predicted_s(model, row.schedule, *schedule, topology, wire_bytes(task, part));
      });
}

/// Each schedule's best bucket size, the best schedules first, measured; then what was only predicted.
Choice measured_choice(World& world, const TuneTask& task) {
  const Topology topology = world.transport(task.deadline_s)->topology();
  const bool reach = peers_reach(world, task);
  const CostModel model =
      measure_costs(world, {task.device, task.transport, task.deadline_s, without_plan(task, reach)});
  Choice choice;
  for (const TuneRow& row : predictions(model, topology, task, reach)) {
    const bool seen = std::any_of(choice.rows.begin(), choice.rows.end(),
                                  [&](const TuneRow& each) { return each.schedule == row.schedule; });
    if (!seen) choice.rows.push_back(row);
  }
  const std::size_t measured = std::min(kMeasured, choice.rows.size());
  for (std::size_t i = 0; i < measured; ++i) verify(world, model, topology, task, choice.rows[i]);
  std::stable_sort(choice.rows.begin(), choice.rows.begin() + static_cast<std::ptrdiff_t>(measured), faster);
  choice.schedule = choice.rows.front().schedule;
  choice.bucket_bytes = choice.rows.front().bucket_bytes;
  return choice;
}

/// Names the machine, the layout of ranks (hosts, nodes, which need not be the same, and devices) and the
/// task. `places`: every rank's host and device.
std::string cache_file(const std::vector<std::string>& places, const Topology& topology, const World& world,
                       const TuneTask& task) {
  if (task.cache_directory.empty()) return {};
  std::string key = fmt::format("{} {} {} {} {} {:.1g} {} {}", world.description(), task.total_bytes,
                                task.schedule, task.bucket_bytes, task.first_bucket_bytes, task.backward_s,
                                name_of(task.dtype), task.transport);
  for (int rank = 0; rank < topology.ranks(); ++rank)
    key += fmt::format(" {}/{}", places[static_cast<std::size_t>(rank)], topology.node_of(rank));
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < key.size(); ++i) hash += mix(i, static_cast<unsigned char>(key[i]));
  return task.cache_directory + "/allreduce-" + hash_text(hash) + ".json";
}

std::string contents(const std::string& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The choice in the cache; empty when there is none, or none that this program can take: worth measuring
/// again, not an error.
std::string kept_choice(const std::string& file) {
  std::string text = file.empty() ? "" : contents(file);
  if (text.empty()) return text;
  try {
    const Choice choice = choice_of(text);
    static_cast<void>(schedule_called(choice.schedule));
    if (choice.bucket_bytes > 0) return text;
  } catch (const Error&) {  // told below
  }
  log::warn("'{}' holds no choice of an all-reduce: measuring again", file);
  return {};
}

/// Whole or not at all, also beside other jobs. A cache that cannot be written is only slower.
void keep_choice(const std::string& file, const Choice& choice) {
  std::error_code ignored;
  const std::filesystem::path aside = file + "." + std::to_string(::getpid());
  std::filesystem::create_directories(aside.parent_path(), ignored);
  std::ofstream(aside) << text_of(choice) << "\n";
  std::filesystem::rename(aside, file, ignored);
}

}  // namespace

std::vector<std::string> tune_candidates(const TuneTask& task, bool reach) {
  if (!task.schedule.empty()) return {task.schedule};
  const bool host = task.device.kind == DeviceKind::cpu;
  std::vector<std::string> names;
  if (host) names.emplace_back("ring:segment=65536");  // added in the CPU's cache
  for (const BenchSchedule& each : bench_schedules({})) {
    if (!host && each.name == "shared") continue;  // sums in host memory
    if (!host && each.name == "peer" && !reach) continue;
    names.push_back(each.name);
  }
  return names;
}

Choice autotune(World& world, const TuneTask& task) {
  auto transport = world.transport(task.deadline_s);
  const Topology topology = transport->topology();
  Control control(
      make_collectives(std::move(transport), schedules().create("recursive_doubling", Options())));
  const std::string place = world.host() + " " + task.device_model;
  const std::string file = cache_file(control.gather(place), topology, world, task);
  const std::string kept = control.broadcast(world.rank() == 0 ? kept_choice(file) : "");
  if (!kept.empty()) {
    Choice choice = choice_of(kept);
    choice.from_cache = true;
    return choice;
  }
  const Choice mine = measured_choice(world, task);
  Choice choice = choice_of(control.broadcast(text_of(mine)));
  choice.rows = mine.rows;
  if (world.rank() == 0 && !file.empty()) keep_choice(file, choice);
  return choice;
}

std::string text_of(const Choice& choice) {
  return nlohmann::json{{"schedule", choice.schedule}, {"bucket_bytes", choice.bucket_bytes}}.dump();
}

Choice choice_of(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.value("schedule", nlohmann::json()).is_string() ||
      !json.value("bucket_bytes", nlohmann::json()).is_number_integer()) {
    throw Error(Fault::config, "'" + text + "' is no choice of an all-reduce",
                "delete that file to choose anew");
  }
  Choice choice;
  choice.schedule = json["schedule"];
  choice.bucket_bytes = json["bucket_bytes"];
  return choice;
}

std::string report_of(const Choice& choice) {
  std::string text = fmt::format("all-reduce chosen: {}, buckets of {:.1f} MiB{}", choice.schedule,
                                 static_cast<double>(choice.bucket_bytes) / (1 << 20),
                                 choice.from_cache ? " (as before on these hosts)" : "");
  for (const TuneRow& row : choice.rows) {
    const std::string measured =
        row.measured_sum_s > 0 ? fmt::format("{:10.0f} us", row.measured_sum_s * 1e6) : "            -";
    text += fmt::format(
        "\n  {:<22} {:6.1f} MiB  predicted {:10.0f} us  measured {}  backward and sums {:10.0f} us",
        row.schedule, static_cast<double>(row.bucket_bytes) / (1 << 20), row.predicted_sum_s * 1e6, measured,
        row.step_s * 1e6);
  }
  return text;
}

}  // namespace lockstep::comm
