// A codec turns f32 or bf16 values into a payload of a size fixed by their count, and back into f32. It works
// in blocks that know nothing of each other, so an array may be cut at multiples of grain(). Calls enqueue;
// spans live on the stream's device and start at multiples of 16 bytes. All devices make the same payload of
// finite values.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/flat_span.h"
#include "core/stream.h"

namespace lockstep::comm {

/// What the owner of a chunk does in one pass over it, see Codec::own().
struct OwnerTurn {
  std::span<const FlatSpan> wires;  ///< this chunk's payloads by rank; the owner's own is not looked at
  int owner = 0;
  FlatSpan values;  ///< f32: what the owner has; becomes factor * the decoded mean
  float share = 1;  ///< mean = share * sum
  float factor = 1;
  std::span<const FlatSpan> targets;  ///< where the mean's payload is wanted, in any rank's memory
  FlatSpan nonfinite;                 ///< one i64
};

class Codec {
 public:
  virtual ~Codec() = default;
  [[nodiscard]] virtual std::int64_t grain() const noexcept = 0;
  /// Bytes on the wire for `count` values.
  [[nodiscard]] virtual std::int64_t payload(std::int64_t count) const noexcept = 0;
  /// wire (u8) = the payload of `values`; and, unless it is empty, residual (f32) = values - decoded.
  /// `residual` may be `values`. `key` names the random numbers of this call, when the codec rounds at
  /// random.
  virtual void encode(FlatSpan values, FlatSpan wire, FlatSpan residual, std::uint32_t key,
                      Stream& stream) const = 0;
  enum class Into { replace, add };
  /// out = decoded, or out += decoded.
  virtual void decode(FlatSpan wire, FlatSpan out, Into into, Stream& stream) const = 0;
  /// out = factor * the sum of what `wires` (at least one) decode to, added in their order; the bits of doing
  /// so one by one.
  virtual void decode_sum(std::span<const FlatSpan> wires, float factor, FlatSpan out, Stream& stream) const;

  /// True when push() and own() are there; then nothing in the codec is random.
  [[nodiscard]] virtual bool straight() const noexcept { return false; }
  /// wire = the payload of f32 `values`, a multiple of 64; `wire` may be another rank's memory. *nonfinite
  /// (i64) += how many values are not finite.
  virtual void push(FlatSpan values, FlatSpan wire, FlatSpan nonfinite, Stream& stream) const;
  /// The bits of: encode the values; decode_sum() all wires; encode the mean; decode that. Counts as push().
  virtual void own(const OwnerTurn& turn, Stream& stream) const;
};

enum class CodecKind {
  bf16,
  fp16,
  int8,
  int4,
  sign,     ///< with a block's mean magnitude
  vote,     ///< +-1; zeros at random
  ternary,  ///< sign, or 0
  natural
};
enum class Rounding { nearest, stochastic };
/// What a block's largest code stands for: its largest magnitude, or its length (QSGD).
enum class BlockScale { largest, length };

struct CodecSpec {
  CodecKind kind = CodecKind::bf16;
  Rounding rounding = Rounding::nearest;
  BlockScale scale = BlockScale::largest;
  bool rotate = false;  ///< randomised Hadamard transform of each block before rounding
};

/// A codec that works on `device`. Throws Fault::device when this build has none.
[[nodiscard]] std::unique_ptr<Codec> make_codec(const CodecSpec& spec, Device device);

/// Rows of the table of devices, in cpu/ and cuda/.
[[nodiscard]] std::unique_ptr<Codec> make_cpu_codec(const CodecSpec& spec);
[[nodiscard]] std::unique_ptr<Codec> make_cuda_codec(const CodecSpec& spec);

}  // namespace lockstep::comm
