// What --dry-run prints: operations with their FLOPs, parameters and bytes; memory; batches; buckets and what
// their exchange costs.
#include <algorithm>
#include <cstdio>

#include "comm/exchange.h"
#include "trainer/compression.h"
#include "trainer/parts.h"
#include "trainer/placement.h"
#include "trainer/training.h"

namespace lockstep::trainer {

namespace {

std::string format(const char* pattern, auto... values) {
  char line[256];
  std::snprintf(line, sizeof line, pattern, values...);
  return line;
}

std::string bytes_text(double bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 3) {
    bytes /= 1024;
    ++unit;
  }
  return format(unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

std::string operations_table(const models::Executor& executor) {
  std::string table = format("%-34s %-26s %-20s %12s %10s %10s\n", "operation", "kind", "output",
                             "parameters", "MFLOP fwd", "activation");
  for (const models::NodeReport& node : executor.report()) {
    table += format("%-34s %-26s %-20s %12lld %10.2f %10s\n", node.name.c_str(), node.op.c_str(),
                    node.output.text().c_str(), static_cast<long long>(node.parameters),
                    node.work.forward_flops * 1e-6,
                    bytes_text(static_cast<double>(node.activation_bytes)).c_str());
  }
  return table;
}

std::string work_lines(const models::Executor& executor, std::int64_t microbatch) {
  double forward = 0, backward = 0, repeated = 0;
  int kernels = 0;
  for (const models::NodeReport& node : executor.report()) {
    forward += node.work.forward_flops;
    backward += node.work.backward_flops;
    repeated += node.repeated ? node.work.forward_flops : 0;
    kernels += node.repeated ? 1 : 0;
  }
  std::string lines = format("work         %.3f GFLOP forward, %.3f GFLOP backward a microbatch of %lld\n",
                             forward * 1e-9, backward * 1e-9, static_cast<long long>(microbatch));
  if (kernels > 0)
    lines += format("recomputed   %d of %d kernels, %.3f GFLOP forward a second time\n", kernels,
                    executor.kernels(), repeated * 1e-9);
  return lines;
}

std::string memory_lines(const Replica& replica, const Optimizer& optimizer, const BatchPlan& plan,
                         const Options& train, int sharded_over) {
  const auto elements = static_cast<double>(replica.executor().parameter_layout().stored_count());
  const double array = 4.0 * elements;
  const int gradient_arrays =
      train.boolean("reproducible") ? comm::tree_arrays(static_cast<int>(plan.shard.count)) : 1;
  const double gradient_bytes =
      elements * gradient_arrays * static_cast<double>(size_of(dtype_named(train.text("gradients"))));
  const SlotLayout& layout = replica.executor().parameter_layout();
  const double optimizer_bytes =
      static_cast<double>(largest_part(layout, sharded_over)) * optimizer.state_bytes_per_parameter();
  const double activations = static_cast<double>(replica.executor().arena_bytes());
  return "memory of a rank\n" + format("  values       %s\n", bytes_text(array).c_str()) +
         format("  gradients    %s (%d arrays)\n", bytes_text(gradient_bytes).c_str(), gradient_arrays) +
         format("  optimizer    %s", bytes_text(optimizer_bytes).c_str()) +
         (sharded_over > 1 ? "; " + sharding_text(optimizer, layout, sharded_over) : "") + "\n" +
         format("  activations  %s\n", bytes_text(activations).c_str()) +
         format("  together     %s\n",
                bytes_text(array + gradient_bytes + optimizer_bytes + activations).c_str());
}

/// What ranks that share the optimizer send besides the sums of gradients.
std::string sharding_line(const SlotLayout& layout, int ranks) {
  if (ranks == 1) return "";
  const Part own = cut_parts(layout, ranks).front();
  return format("  updated values: rank 0 sends %s in %d messages, 1 round\n",
                bytes_text(4.0 * static_cast<double>(own.count) * (ranks - 1)).c_str(),
                own.count > 0 ? ranks - 1 : 0);
}

std::string exchange_lines(const Config& config, const Replica& replica, const BatchPlan& plan, int ranks,
                           bool one_node) {
  const comm::ExchangeOptions options = step_options(config, plan).exchange;
  const auto buckets = comm::cut_buckets(replica.executor().parameter_layout(), options.bucket_bytes,
                                         options.first_bucket_bytes);
  const std::string name = schedule_name(config, one_node);
  const auto schedule = make_schedule(config, one_node);
  std::string lines =
      format("exchange by %s over %d rank(s), %zu bucket(s)\n", name.c_str(), ranks, buckets.size());
  if (name == "auto")
    lines += "  schedule and buckets are measured and chosen when a run starts; these are shared's\n";
  for (const comm::Bucket& bucket : buckets) {
    lines += format("  bucket %d: slots %d to %d, %s", bucket.index, bucket.first_slot, bucket.last_slot - 1,
                    bytes_text(4.0 * static_cast<double>(bucket.range.count)).c_str());
    if (!schedule->library()) {
      const comm::Cost cost = schedule->stated_cost(0, ranks, bucket.range.count);
      lines += format("; rank 0 sends %s in %lld messages, %lld rounds",
                      bytes_text(4.0 * static_cast<double>(cost.elements)).c_str(),
                      static_cast<long long>(cost.messages), static_cast<long long>(cost.rounds));
    }
    lines += "\n";
  }
  return lines;
}

}  // namespace

std::string describe_plan(const Config& config, int ranks, bool one_node) {
  check_reproducible(config);
  check_compression(config);
  const auto dataset = open_dataset(config);
  static_cast<void>(open_evaluation_set(config, *dataset));  // found missing now, not after training
  const Device device = lone_device(config);
  const BatchPlan plan = plan_of(config, *dataset, 0, ranks);
  const auto loader = open_training_loader(config, *dataset, plan, device);
  ReplicaOptions planned = replica_options(config, device, plan.microbatch, true);
  planned.plan_only = true;
  const Replica replica(loader->spec(), planned);
  const SlotLayout layout = replica.executor().parameter_layout();
  const auto optimizer =
      optimizers().create(config.part_name("optimizer"), config.part("optimizer"), layout, replica.device());
  const int sharded_over = config.section("optimizer").boolean("shard") ? ranks : 1;
  return config.resolved() + "\n" + operations_table(replica.executor()) + "\n" +
         format("parameters   %lld\n",
                static_cast<long long>(replica.executor().parameter_layout().canonical_count())) +
         work_lines(replica.executor(), plan.microbatch) +
         format(
             "batch        %lld samples a step in %lld microbatches, %lld of them on rank 0; %lld steps, "
             "%lld an epoch\n",
             static_cast<long long>(plan.global), static_cast<long long>(plan.shard.per_step),
             static_cast<long long>(plan.shard.count), static_cast<long long>(plan.steps),
             static_cast<long long>(plan.steps_per_epoch)) +
         memory_lines(replica, *optimizer, plan, config.section("train"), sharded_over) +
         exchange_lines(config, replica, plan, ranks, one_node) +
         sharding_line(replica.executor().parameter_layout(), sharded_over);
}

}  // namespace lockstep::trainer
