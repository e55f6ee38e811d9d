// The order of a sum whose shots copy engines make both. No CUDA in here: tests run it on lanes of their own.
#pragma once

#include <cstdint>

namespace lockstep::comm {

/// Work of one lane runs in order, work of different lanes at any time. Sums are the caller's stream.
enum class CopyLane : std::uint8_t { sums, out, back };

/// `lanes` enqueues: `follow(first, then)`, what comes on `then` waits for all that is on `first`; `send(s)`
/// on out, segment s of the others' chunks into their scratch memory; `meet()` on sums, which ends on no rank
/// before it began on every rank; `add(s)` on sums, segment s of the own chunk from scratch memory; and
/// `hand_back(s)` on back, that sum into everyone's array. Sends run ahead and share the links with what is
/// handed back. Scratch memory must be free when the sums' lane comes to this point on any rank; the last
/// meeting frees it again.
template <class Lanes>
void sum_in_segments(int segments, Lanes& lanes) {
  lanes.follow(CopyLane::sums, CopyLane::out);
  for (int segment = 0; segment < segments; ++segment) {
    lanes.send(segment);
    lanes.follow(CopyLane::out, CopyLane::sums);
    lanes.meet();  // everyone's segments are here, and read from the arrays that sums go to
    lanes.add(segment);
    lanes.follow(CopyLane::sums, CopyLane::back);
    lanes.hand_back(segment);
  }
  lanes.follow(CopyLane::back, CopyLane::sums);
  lanes.meet();
}

}  // namespace lockstep::comm
