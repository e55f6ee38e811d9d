// Causal multi-head attention, head by head and block by block of queries: small f32 products (oneDNN's sgemm
// on strided q, k, v) around row loops, keys beyond a block's last query never touched. Forward keeps only
// the log-sum-exp of each row; backward makes the probabilities again, so memory grows with T, not T^2 (as
// FlashAttention does, Dao et al. 2022). bf16 heads are widened first.
#include <algorithm>
#include <cmath>
#include <string>

#include "models/ops/cpu/attention_loops.h"
#include "models/ops/cpu/dnnl_compat.h"
#include "models/ops/cpu/kernels.h"
#include "models/ops/cpu/parallel.h"
#include "models/ops/cpu/rowwise.h"
#include "models/ops/dropout_mask.h"

namespace lockstep::models::cpu {
namespace {

constexpr std::int64_t kQueryBlock = 64;  ///< scores of a block stay in the second-level cache

/// A strided f32 matrix.
struct Matrix {
  float* data;
  std::int64_t stride;
  [[nodiscard]] Matrix rows_from(std::int64_t row) const { return {data + row * stride, stride}; }
};

struct Sizes {
  std::int64_t m, n, k;
};

/// c = alpha op(a) op(b) (+ c).
void product(char a_op, char b_op, const Sizes& s, float alpha, const Matrix& a, const Matrix& b, bool add,
             const Matrix& c) {
  dnnl_sgemm(a_op, b_op, s.m, s.n, s.k, alpha, a.data, a.stride, b.data, b.stride, add ? 1.0F : 0.0F, c.data,
             c.stride);
}

/// One head of one sample: q, k, v or their gradients, or the output.
struct Head {
  Matrix q, k, v, y;
};

template <class T>
class AttentionKernel final : public CpuKernel {
 public:
  explicit AttentionKernel(const Site& site)
      : CpuKernel(site),
        op_(std::get<CausalAttention>(site.request.node->spec)),
        name_(site.request.node->name),
        samples_(site.input()[0]),
        time_(site.input()[1]),
        width_(site.output()[2]),
        depth_(width_ / op_.heads),
        block_(std::min(kQueryBlock, time_)),
        scale_(1.0F / std::sqrt(static_cast<float>(depth_))) {}

  /// A log-sum per row and head, and the bytes of the dropout mask.
  [[nodiscard]] std::size_t saved_bytes() const override {
    return padded(float_bytes(tasks() * time_)) + (op_.dropout > 0 ? mask_count() : 0);
  }
  [[nodiscard]] std::size_t workspace_bytes() const override {
    return static_cast<std::size_t>(std::max(threads(), 1)) * scratch_bytes();
  }
  [[nodiscard]] bool backward_needs_output() const override { return false; }

 private:
  static constexpr bool kWide = sizeof(T) == sizeof(float);

  [[nodiscard]] std::int64_t tasks() const { return samples_ * op_.heads; }
  [[nodiscard]] std::size_t mask_count() const { return static_cast<std::size_t>(tasks() * time_ * time_); }
  [[nodiscard]] std::int64_t block_size() const { return block_ * row_stride(time_); }
  /// Two score blocks and a mask row block; narrow dtypes also widened heads (q, k, v, y and the gradients).
  [[nodiscard]] std::size_t scratch_bytes() const {
    return padded(float_bytes(2 * block_size())) + padded(static_cast<std::size_t>(block_size())) +
           (kWide ? 0 : padded(float_bytes(8 * time_ * depth_)));
  }
  [[nodiscard]] std::byte* scratch(std::int64_t worker) const {
    return workspace<std::byte>(static_cast<std::size_t>(worker) * scratch_bytes());
  }
  float* scores(std::int64_t worker) const { return reinterpret_cast<float*>(scratch(worker)); }
  float* gradients(std::int64_t worker) const { return scores(worker) + block_size(); }
  std::uint8_t* mask_rows(std::int64_t worker) const {
    return reinterpret_cast<std::uint8_t*>(scratch(worker) + padded(float_bytes(2 * block_size())));
  }
  float* widened(std::int64_t worker) const {
    return reinterpret_cast<float*>(mask_rows(worker) + padded(static_cast<std::size_t>(block_size())));
  }
  float* log_sums(std::int64_t task) const { return saved<float>() + task * time_; }
  std::uint8_t* mask(std::int64_t task) const {
    return saved<std::uint8_t>(padded(float_bytes(tasks() * time_))) + task * time_ * time_;
  }
  [[nodiscard]] bool drops(const Pass& pass) const {
    return pass.mode == Mode::train && op_.dropout > 0 && !pass.products_only;
  }

  /// Where the head lies in tensors [N, T, 3C] and [N, T, C]; element offsets.
  [[nodiscard]] std::int64_t qkv_at(std::int64_t task) const {
    return task / op_.heads * time_ * 3 * width_ + task % op_.heads * depth_;
  }
  [[nodiscard]] std::int64_t y_at(std::int64_t task) const {
    return task / op_.heads * time_ * width_ + task % op_.heads * depth_;
  }

  /// The head in place.
  Head view(const float* qkv, const float* y, std::int64_t task) const {
    auto* q = const_cast<float*>(qkv) + qkv_at(task);
    return {{q, 3 * width_},
            {q + width_, 3 * width_},
            {q + 2 * width_, 3 * width_},
            {const_cast<float*>(y) + y_at(task), width_}};
  }
  /// Dense f32 matrices in scratch, from slot `first` of eight.
  Head dense(std::int64_t worker, std::int64_t first) const {
    float* at = widened(worker) + first * time_ * depth_;
    const std::int64_t size = time_ * depth_;
    return {{at, depth_}, {at + size, depth_}, {at + 2 * size, depth_}, {at + 3 * size, depth_}};
  }
  void widen_rows(const T* from, std::int64_t stride, const Matrix& to) const {
    for (std::int64_t t = 0; t < time_; ++t) store(from + t * stride, to.data + t * depth_, depth_, false, 1);
  }
  void narrow_rows(const Matrix& from, T* to, std::int64_t stride, bool add) const {
    for (std::int64_t t = 0; t < time_; ++t) store(from.data + t * depth_, to + t * stride, depth_, add, 1);
  }
  void widen_qkv(std::int64_t task, const Head& head) const {
    const T* q = in<T>() + qkv_at(task);
    widen_rows(q, 3 * width_, head.q);
    widen_rows(q + width_, 3 * width_, head.k);
    widen_rows(q + 2 * width_, 3 * width_, head.v);
  }

  /// Runs body(task, worker) for every head; a worker owns a part of the scratch.
  template <class Body>
  void for_heads(const Body& body) const {
    const std::int64_t workers = std::max(threads(), 1);
    parallel_for(threads(), workers, [&](std::int64_t worker) {
      for (std::int64_t task = worker; task < tasks(); task += workers) body(task, worker);
    });
  }

  void run_forward(const Pass& pass) override {
    for_heads([&](std::int64_t task, std::int64_t worker) {
      if constexpr (kWide) {
        forward_head(pass, view(in<float>(), out<float>(), task), task, worker);
      } else {
        const Head head = dense(worker, 0);
        widen_qkv(task, head);
        forward_head(pass, head, task, worker);
        narrow_rows(head.y, out<T>() + y_at(task), width_, false);
      }
    });
  }
  void forward_head(const Pass& pass, const Head& h, std::int64_t task, std::int64_t worker) const {
    for (std::int64_t first = 0; first < time_; first += block_) {
      const ScoreBlock b = block_at(scores(worker), first);
      product('N', 'T', {b.rows, b.keys, depth_}, scale_, h.q.rows_from(first), h.k, false,
              {b.scores, b.stride});
      if (!pass.products_only) causal_softmax(b, log_sums(task) + first);
      if (drops(pass)) {
        make_mask(pass, task, b);
        drop_block(b, task, worker);
      }
      product('N', 'N', {b.rows, depth_, b.keys}, 1.0F, {b.scores, b.stride}, h.v, false,
              h.y.rows_from(first));
    }
  }
  [[nodiscard]] ScoreBlock block_at(float* data, std::int64_t first) const {
    const std::int64_t rows = std::min(block_, time_ - first);
    return {data, first, rows, first + rows, row_stride(first + rows)};
  }

  void make_mask(const Pass& pass, std::int64_t task, const ScoreBlock& b) const {
    const std::int64_t first = (task % op_.heads * time_ + b.first) * time_;
    dropout_mask(pass.seed, name_, pass.first_sample + task / op_.heads, op_.dropout, first,
                 {mask(task) + b.first * time_, static_cast<std::size_t>(b.rows * time_)});
  }
  /// Drops in `b` what the saved mask says.
  void drop_block(const ScoreBlock& b, std::int64_t task, std::int64_t worker) const {
    for (std::int64_t row = 0; row < b.rows; ++row)
      std::copy_n(mask(task) + (b.first + row) * time_, b.keys, mask_rows(worker) + row * b.stride);
    drop(b, mask_rows(worker), 1.0F / (1.0F - op_.dropout));
  }

  void run_backward(const Pass& pass) override {
    if (in_gradient<T>() == nullptr) return;
    for_heads([&](std::int64_t task, std::int64_t worker) {
      if constexpr (kWide) {
        backward_head(pass, view(in<float>(), out_gradient<float>(), task),
                      view(in_gradient<float>(), nullptr, task), {task, worker, adds()});
      } else {
        const Head head = dense(worker, 0);
        const Head gradient = dense(worker, 4);
        widen_qkv(task, head);
        widen_rows(out_gradient<T>() + y_at(task), width_, head.y);
        backward_head(pass, head, gradient, {task, worker, false});
        T* dq = in_gradient<T>() + qkv_at(task);
        narrow_rows(gradient.q, dq, 3 * width_, adds());
        narrow_rows(gradient.k, dq + width_, 3 * width_, adds());
        narrow_rows(gradient.v, dq + 2 * width_, 3 * width_, adds());
      }
    });
  }
  struct Task {
    std::int64_t head, worker;
    bool add;
  };
  /// Blocks run from the last, which touches every key first: it alone may overwrite dk and dv. h.y holds dy.
  void backward_head(const Pass& pass, const Head& h, const Head& d, const Task& task) const {
    bool add = task.add;
    for (std::int64_t first = (time_ - 1) / block_ * block_; first >= 0; first -= block_, add = true) {
      const ScoreBlock p = block_at(scores(task.worker), first);
      const ScoreBlock g = block_at(gradients(task.worker), first);
      const Matrix p_matrix{p.scores, p.stride};
      const Matrix g_matrix{g.scores, g.stride};
      product('N', 'T', {p.rows, p.keys, depth_}, scale_, h.q.rows_from(first), h.k, false, p_matrix);
      if (!pass.products_only) causal_probabilities(p, log_sums(task.head) + first);
      product('N', 'T', {p.rows, p.keys, depth_}, 1.0F, h.y.rows_from(first), h.v, false, g_matrix);
      value_gradient(pass, h, d, p, g, task, add);
      if (!pass.products_only) softmax_gradient(p, g.scores);
      product('N', 'N', {p.rows, depth_, p.keys}, scale_, g_matrix, h.k, task.add, d.q.rows_from(first));
      product('T', 'N', {p.keys, depth_, p.rows}, scale_, g_matrix, h.q.rows_from(first), add, d.k);
    }
  }
  /// dv += (dropped P)^T dy, and the gradient of P goes through the same mask; dropped P needs a copy, so it
  /// is made from P and P is made again.
  void value_gradient(const Pass& pass, const Head& h, const Head& d, const ScoreBlock& p,
                      const ScoreBlock& g, const Task& task, bool add) const {
    const Sizes sizes{p.keys, depth_, p.rows};
    const Matrix dy = h.y.rows_from(p.first);
    if (!drops(pass)) return product('T', 'N', sizes, 1.0F, {p.scores, p.stride}, dy, add, d.v);
    drop_block(g, task.head, task.worker);
    drop(p, mask_rows(task.worker), 1.0F / (1.0F - op_.dropout));
    product('T', 'N', sizes, 1.0F, {p.scores, p.stride}, dy, add, d.v);
    product('N', 'T', {p.rows, p.keys, depth_}, scale_, h.q.rows_from(p.first), h.k, false,
            {p.scores, p.stride});
    causal_probabilities(p, log_sums(task.head) + p.first);
  }

  CausalAttention op_;
  std::string name_;
  std::int64_t samples_, time_, width_, depth_, block_;
  float scale_;
};

}  // namespace

std::unique_ptr<Kernel> make_attention(const Site& site) { return make_typed<AttentionKernel>(site); }

}  // namespace lockstep::models::cpu
