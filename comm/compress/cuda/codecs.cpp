// The GPU's codecs by name, and its table of kernels.
#include <iterator>

#include "comm/compress/cuda/cuda_kernels.h"
#include "core/error.h"

namespace lockstep::comm {
namespace {

/// OwnerTurn with `place` of each wire.
template <class Wire, class Place>
CudaOwner<Wire> owner_of(const OwnerTurn& turn, Place place) {
  CudaOwner<Wire> made{.ranks = static_cast<int>(turn.wires.size()),
                       .owner = turn.owner,
                       .share = turn.share,
                       .factor = turn.factor};
  if (turn.wires.size() > std::size(made.wires))
    throw Error(Fault::internal, "more ranks than one pass over a chunk takes");
  for (std::size_t rank = 0; rank < turn.wires.size(); ++rank) made.wires[rank] = place(turn.wires[rank]);
  for (const FlatSpan& target : turn.targets) made.targets[made.wanted++] = place(target);
  return made;
}

class ElementCodec final : public Codec {
 public:
  explicit ElementCodec(const CudaElementLoops& loops) : loops_(loops) {}
  std::int64_t grain() const noexcept override { return kElementGrain; }
  std::int64_t payload(std::int64_t count) const noexcept override { return count * loops_.bytes; }
  void encode(FlatSpan values, FlatSpan wire, FlatSpan residual, std::uint32_t key,
              Stream& stream) const override {
    if (values.count > 0) loops_.encode(values, wire.data, residual, key, stream);
  }
  void decode(FlatSpan wire, FlatSpan out, Into into, Stream& stream) const override {
    if (out.count > 0) loops_.decode({.of = {wire.data}, .count = 1, .add = into == Into::add}, out, stream);
  }
  void decode_sum(std::span<const FlatSpan> wires, float factor, FlatSpan out,
                  Stream& stream) const override {
    CudaPayloads<const void*> all{.factor = factor};
    if (wires.size() > std::size(all.of)) return Codec::decode_sum(wires, factor, out, stream);
    for (const FlatSpan& wire : wires) all.of[all.count++] = wire.data;
    if (out.count > 0) loops_.decode(all, out, stream);
  }
  bool straight() const noexcept override { return loops_.push != nullptr; }
  void push(FlatSpan values, FlatSpan wire, FlatSpan nonfinite, Stream& stream) const override {
    if (values.count > 0) loops_.push(values, wire.data, nonfinite, stream);
  }
  void own(const OwnerTurn& turn, Stream& stream) const override {
    const auto owner = owner_of<void*>(turn, [](const FlatSpan& wire) { return wire.data; });
    if (turn.values.count > 0) loops_.own(owner, turn.values, turn.nonfinite, stream);
  }

 private:
  CudaElementLoops loops_;
};

class BlockCodec final : public Codec {
 public:
  BlockCodec(const CudaBlockLoops& loops, const BlockFormat& format) : loops_(loops), format_(format) {}
  std::int64_t grain() const noexcept override { return loops_.shape.block; }
  std::int64_t payload(std::int64_t count) const noexcept override { return loops_.shape.payload(count); }
  void encode(FlatSpan values, FlatSpan wire, FlatSpan residual, std::uint32_t key,
              Stream& stream) const override {
    if (values.count > 0)
      loops_.encode(values, loops_.shape.places(wire.data, values.count), residual, format_, key, stream);
  }
  void decode(FlatSpan wire, FlatSpan out, Into into, Stream& stream) const override {
    if (out.count == 0) return;
    const auto places = loops_.shape.places(wire.data, out.count);
    loops_.decode({.of = {places}, .count = 1, .add = into == Into::add}, out, format_, stream);
  }
  void decode_sum(std::span<const FlatSpan> wires, float factor, FlatSpan out,
                  Stream& stream) const override {
    CudaPayloads<BlockShape::Places> all{.factor = factor};
    if (wires.size() > std::size(all.of)) return Codec::decode_sum(wires, factor, out, stream);
    for (const FlatSpan& wire : wires) all.of[all.count++] = loops_.shape.places(wire.data, out.count);
    if (out.count > 0) loops_.decode(all, out, format_, stream);
  }
  bool straight() const noexcept override {
    return loops_.push != nullptr && !format_.stochastic && !format_.rotate;
  }
  void push(FlatSpan values, FlatSpan wire, FlatSpan nonfinite, Stream& stream) const override {
    if (values.count > 0)
      loops_.push(values, loops_.shape.places(wire.data, values.count), format_, nonfinite, stream);
  }
  void own(const OwnerTurn& turn, Stream& stream) const override {
    const auto owner = owner_of<BlockShape::Places>(
        turn, [&](const FlatSpan& wire) { return loops_.shape.places(wire.data, turn.values.count); });
    if (turn.values.count > 0) loops_.own(owner, turn.values, format_, turn.nonfinite, stream);
  }

 private:
  CudaBlockLoops loops_;
  BlockFormat format_;
};

const CudaBlockLoops& block_loops(CodecKind kind) {
  switch (kind) {
    case CodecKind::int8:
      return cuda_int8_loops;
    case CodecKind::int4:
      return cuda_int4_loops;
    case CodecKind::sign:
      return cuda_sign_loops;
    case CodecKind::vote:
      return cuda_vote_loops;
    case CodecKind::ternary:
      return cuda_ternary_loops;
    default:
      throw Error(Fault::internal, "an unknown codec");
  }
}

}  // namespace

std::unique_ptr<Codec> make_cuda_codec(const CodecSpec& spec) {
  switch (spec.kind) {
    case CodecKind::bf16:
      return std::make_unique<ElementCodec>(cuda_bf16_loops);
    case CodecKind::fp16:
      return std::make_unique<ElementCodec>(cuda_fp16_loops);
    case CodecKind::natural:
      return std::make_unique<ElementCodec>(cuda_power_loops);
    default:
      return std::make_unique<BlockCodec>(block_loops(spec.kind), BlockFormat::of(spec));
  }
}

const Kernels cuda_compress_kernels{.settle = cuda_settle,
                                    .accept = cuda_accept,
                                    .add_residual = cuda_add_residual,
                                    .scaled = cuda_scaled,
                                    .clear_if = cuda_clear_if,
                                    .select = cuda_select,
                                    .pick = cuda_pick,
                                    .clear_at = cuda_clear_at,
                                    .place = cuda_place,
                                    .draw = cuda_draw,
                                    .add_at = cuda_add_at,
                                    .to_bitmap = cuda_to_bitmap,
                                    .from_bitmap = cuda_from_bitmap,
                                    .largest_magnitudes = cuda_largest_magnitudes,
                                    .mean_magnitudes = cuda_mean_magnitudes,
                                    .scale_runs = cuda_scale_runs,
                                    .grid_steps = cuda_grid_steps,
                                    .to_grid = cuda_to_grid,
                                    .from_grid = cuda_from_grid,
                                    .times_right = cuda_times_right,
                                    .times_left = cuda_times_left,
                                    .orthonormalise = cuda_orthonormalise,
                                    .add_product = cuda_add_product,
                                    .revive = cuda_revive};

}  // namespace lockstep::comm
