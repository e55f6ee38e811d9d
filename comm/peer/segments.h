// The order of a sum whose shots copy engines make both. No CUDA in here: tests run it on lanes of their own.
#pragma once

#include <cstdint>

namespace lockstep::comm {

/// Work of one lane runs in order, work of different lanes at any time. Sums are the caller's stream.
enum class CopyLane : std::uint8_t { sums, copies };

/// `lanes` enqueues: `follow(first, then)`, what comes on `then` waits for all that is on `first`; `send(s)`
/// on copies, segment s of the others' chunks into their scratch memory; `meet()` on sums, which ends on no
/// rank before it began on every rank; `add(s)` on sums, segment s of the own chunk from scratch memory; and
/// `hand_back(first, last)` on copies, the sums of segments [first, last) into everyone's array. One link
/// carries both shots, so nothing is handed back before all is sent; what is added meanwhile goes back in one
/// copy. Scratch memory must be free when the sums' lane comes to this point on any rank; the last meeting
/// frees it again.
template <class Lanes>
void sum_in_segments(int segments, Lanes& lanes) {
  const int last = segments - 1;
  lanes.follow(CopyLane::sums, CopyLane::copies);
  for (int segment = 0; segment < segments; ++segment) {
    lanes.send(segment);
    const bool earlier = segment == last && last > 0;
    if (earlier) lanes.follow(CopyLane::sums, CopyLane::copies);
    lanes.follow(CopyLane::copies, CopyLane::sums);
    if (earlier) lanes.hand_back(0, last);
    lanes.meet();  // everyone's segments are here, and read from the arrays that sums go to
    lanes.add(segment);
  }
  lanes.follow(CopyLane::sums, CopyLane::copies);
  lanes.hand_back(last, segments);
  lanes.follow(CopyLane::copies, CopyLane::sums);
  lanes.meet();
}

}  // namespace lockstep::comm
