// An NCCL that only counts calls, so that tests of those who call it need no GPU.
#pragma once

#include <nccl.h>

#include <atomic>
#include <functional>

namespace lockstep::comm {

struct FakeNccl {
  std::atomic<int> destroyed = 0, aborted = 0, deregistered = 0;
  std::function<void()> in_abort;  ///< runs in each call of ncclCommAbort, if any
};
/// Of the test that runs; it sets a new one up.
inline FakeNccl* fake_nccl = nullptr;

}  // namespace lockstep::comm
