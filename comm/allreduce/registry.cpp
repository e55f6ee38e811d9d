// The table of all-reduce schedules, and which one is used when the user names none.
#include "comm/allreduce/rows.h"
#include "comm/named.h"

namespace lockstep::comm {
namespace {

// Halving-doubling: the fewest bytes (2(p-1)/p of the array, like the ring) in the fewest rounds for that (2
// log2 p, not 2(p-1)), and bits that depend neither on the cut into buckets nor, with tree accumulation, on a
// power-of-two number of ranks: the same run repeats whatever the bucket size. At other rank counts it sends
// up to 2.9 array lengths from the busiest rank where the ring sends 1.9: there `ring` is faster for large
// models.
constexpr std::string_view kDefault = "halving_doubling";
// CPU ranks of one node read each other's memory: the same bits in a half to a fifth of the time from 1 MiB
// up (docs/collectives.md). Reproducible mode keeps to messages, which every transport has.
constexpr std::string_view kOnOneNode = "shared";
// NCCL's own, which also crosses nodes well. On two GPUs of one node `peer` is faster still
// (docs/benchmarks.md), but not all GPUs reach each other.
constexpr std::string_view kOnGpus = "library";

constexpr std::span<const Setting> kNoSettings{};

}  // namespace

const Registry<Schedule>& schedules() {
  using Row = Registry<Schedule>::Row;
  static const Row rows[] = {
      {"auto", "chosen at start-up by measurement, with the bucket size", auto_settings(), make_auto},
      {"library", "all-reduce of MPI or NCCL; refused in reproducible mode", kNoSettings, make_library},
      {"shared", "in place in memory that all ranks of a node reach; elsewhere halving-doubling",
       shared_memory_settings(), make_shared_memory},
      {"ring", "neighbours only; fewest bytes at any rank count, 2(p-1) rounds", ring_settings(), make_ring},
      {"recursive_doubling", "fewest rounds, whole arrays: for small arrays", kNoSettings,
       make_recursive_doubling},
      {"halving_doubling", "fewest bytes in 2 log2(p) rounds; bits do not depend on buckets", kNoSettings,
       make_halving_doubling},
      {"swing", "halving-doubling whose partners stay near on a ring or torus", kNoSettings, make_swing},
      {"double_tree", "two pipelined binary trees, at most two array lengths sent at any rank count",
       double_tree_settings(), make_double_tree},
      {"torus2d", "rings along the rows and columns of a grid: the ring's bytes in fewer rounds",
       torus2d_settings(), make_torus2d},
      {"hierarchical", "adds up inside each node first: the fewest bytes between nodes", kNoSettings,
       make_hierarchical},
      {"bruck", "gathers all arrays in ceil(log2 p) rounds, then adds: for very small arrays", kNoSettings,
       make_bruck},
      {"one_shot", "whole arrays to everyone in one round: for small arrays and 2 ranks", kNoSettings,
       make_one_shot},
      {"two_shot", "chunks to their owners, sums back: the ring's bytes in two rounds", kNoSettings,
       make_two_shot},
      {"peer", "GPUs of one node: loads and stores over NVLink", peer_settings(), make_peer},
  };
  static const Registry<Schedule> table("allreduce", rows);
  return table;
}

std::unique_ptr<Schedule> schedule_called(const std::string& text) {
  const auto [name, settings] = part_called(schedules(), text);
  return schedules().create(name, settings);
}

std::string_view default_schedule(const SchedulePlace& place) noexcept {
  if (place.reproducible) return kDefault;
  if (!place.host) return kOnGpus;
  return place.one_node ? kOnOneNode : kDefault;
}

}  // namespace lockstep::comm
