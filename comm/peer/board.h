// What GPUs of one node share: a board in each rank's memory that the others write to, and a page of host
// memory where a kernel says what it waits for and is told to give up. For the files of this folder.
//
// Flags count epochs, one counter per thread block, kept in device memory so that a captured graph may be
// launched again and again. All ranks launch the same grids in the same order, so block b of one rank meets
// block b of the others.
#pragma once

#include <vector_types.h>

#include <cstdint>

namespace lockstep::comm {

inline constexpr int kMostRanks = 8;       // GPUs of a node with NVLink between all
inline constexpr int kMostBlocks = 128;    // of a two-shot kernel: about all multiprocessors
inline constexpr int kLineThreads = 256;   // of a one-shot block
inline constexpr int kLineBlocks = 64;     // of a one-shot kernel
inline constexpr int kLinesPerThread = 8;  // most of a one-shot kernel
inline constexpr int kBlockLines = kLineThreads * kLinesPerThread;
inline constexpr int kLineBytes = 8;  // of payload; a line is 16 bytes, half of them flags
inline constexpr std::int64_t kMostLineBytes = std::int64_t{kLineBlocks} * kBlockLines * kLineBytes;

/// One rank's board. A line is {data, epoch, data, epoch}: the receiver polls the data itself, so there is no
/// separate flag and no fence (the LL protocol of NCCL). Lines of odd and even epochs lie apart: a rank that
/// writes epoch e + 2 has received epoch e + 1 from everyone, who are then done with epoch e.
struct Board {
  // Written by peers: flags[block][from]. Row kMostBlocks belongs to meetings without a sum.
  std::uint32_t begin[kMostBlocks + 1][kMostRanks];
  std::uint32_t end[kMostBlocks][kMostRanks];
  // Own.
  std::uint32_t epochs[kMostBlocks + 1];
  std::uint32_t line_epochs[kLineBlocks];
  std::uint32_t operations;
  alignas(256) uint4 lines[2][kMostRanks][kLineBlocks][kBlockLines];
};

/// In page-locked host memory. Kernels write, the watch reads; `abort` goes the other way.
struct Notes {
  std::uint32_t begun;  ///< operations
  std::uint32_t done;
  std::int64_t bytes;   ///< of the operation begun last
  std::int32_t bucket;  ///< of the operation begun last
  std::int32_t waiting_for;
  std::uint64_t waited_ns;  ///< not 0: a wait for rank `waiting_for` has lasted longer than the deadline
  std::uint32_t abort;      ///< end all waits
};

/// What every kernel is told.
struct Call {
  Board* boards[kMostRanks];  ///< by rank, as this GPU sees them
  Notes* notes;
  std::int64_t bytes;
  std::uint64_t deadline_ns;
  int rank, ranks, bucket;
};

/// An array as every rank has it, as this GPU sees them; by rank.
struct Arrays {
  void* of[kMostRanks];
};

}  // namespace lockstep::comm
