// What all reference kernels share: access to their tensors by number, and the rules about writing gradients.
// A kernel states its mathematics in `compute` (y from x) and `differentiate` (dx and parameter gradients
// from dy), always adding into zeroed scratch; the base then overwrites or adds as the planner asked.
#pragma once

#include <cassert>
#include <cstdint>
#include <memory>
#include <vector>

#include "models/ops/kernel.h"
#include "models/ops/work.h"

namespace lockstep::models::reference {

template <class T>
class ReferenceKernel : public Kernel {
 public:
  explicit ReferenceKernel(const KernelRequest& request) : work_(work_of(request, sizeof(T))) {
    const Graph& graph = *request.graph;
    for (const TensorLayout& input : request.inputs) inputs_.push_back(input);
    for (int index : request.node->parameters) {
      parameters_.push_back(graph.parameters()[static_cast<std::size_t>(index)].shape);
    }
    output_ = graph.values()[static_cast<std::size_t>(request.node->output)].shape;
  }

  [[nodiscard]] TensorLayout output() const final { return {output_, dtype_of<T>, nullptr}; }
  [[nodiscard]] Work work() const final { return work_; }
  void bind(const Bindings& bindings) final { bindings_ = bindings; }

  void forward(const Pass& pass, Stream& stream) override {
    stream.host([this, &pass] {
      take(pass);
      compute();
    });
  }
  void backward(const Pass& pass, Stream& stream) override {
    stream.host([this, &pass] {
      begin_backward(pass);
      differentiate();
      finish_backward();
    });
  }

 protected:
  virtual void compute() {}
  virtual void differentiate() {}

  void take(const Pass& pass) { pass_ = &pass; }
  /// Clears the scratch gradients; afterwards differentiate() may add to them.
  void begin_backward(const Pass& pass) {
    take(pass);
    input_gradients_.resize(inputs_.size());
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      if (inputs_[i].dtype == dtype_of<T>) input_gradients_[i].assign(elements(inputs_[i].shape), T{0});
    }
    parameter_gradients_.resize(parameters_.size());
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      parameter_gradients_[i].assign(elements(parameters_[i]), T{0});
    }
  }
  /// Overwrites the wanted gradients with the scratch, or adds it.
  void finish_backward() {
    for (std::size_t i = 0; i < bindings_.input_gradients.size(); ++i) {
      const auto& target = bindings_.input_gradients[i];
      if (target.data != nullptr) store(input_gradients_[i], static_cast<T*>(target.data), target.add);
    }
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      T* target = pass_->gradients.as<T>().data() + bindings_.parameters[i];
      store(parameter_gradients_[i], target, pass_->accumulate);
    }
  }

  [[nodiscard]] const Pass& pass() const { return *pass_; }
  [[nodiscard]] const Shape& shape(int input = 0) const { return inputs_[index(input)].shape; }
  [[nodiscard]] const Shape& output_shape() const { return output_; }
  [[nodiscard]] int input_count() const { return static_cast<int>(inputs_.size()); }

  [[nodiscard]] const T* x(int input = 0) const {
    return static_cast<const T*>(bindings_.inputs[index(input)]);
  }
  [[nodiscard]] const std::int32_t* ids(int input) const {
    assert(inputs_[index(input)].dtype == Dtype::i32);
    return static_cast<const std::int32_t*>(bindings_.inputs[index(input)]);
  }
  [[nodiscard]] T* y() const { return static_cast<T*>(bindings_.output); }
  [[nodiscard]] const T* dy() const { return static_cast<const T*>(bindings_.output_gradient); }
  [[nodiscard]] T* dx(int input = 0) { return input_gradients_[index(input)].data(); }
  [[nodiscard]] const T* parameter(int number) const {
    return pass_->values.as<T>().data() + bindings_.parameters[index(number)];
  }
  [[nodiscard]] T* parameter_gradient(int number) { return parameter_gradients_[index(number)].data(); }
  [[nodiscard]] const T* state(int number) const {
    return pass_->state.as<T>().data() + bindings_.states[index(number)];
  }
  [[nodiscard]] T* statistics(int number) const {
    return pass_->statistics.as<T>().data() + bindings_.states[index(number)];
  }
  template <class U>
  [[nodiscard]] U* saved() const {
    return static_cast<U*>(bindings_.saved);
  }

 private:
  static std::size_t index(int number) { return static_cast<std::size_t>(number); }
  static std::size_t elements(const Shape& shape) { return static_cast<std::size_t>(shape.count()); }
  static void store(const std::vector<T>& from, T* to, bool add) {
    for (std::size_t i = 0; i < from.size(); ++i) to[i] = add ? to[i] + from[i] : from[i];
  }

  Work work_;
  std::vector<TensorLayout> inputs_;
  std::vector<Shape> parameters_;
  Shape output_;
  Bindings bindings_;
  const Pass* pass_ = nullptr;
  std::vector<std::vector<T>> input_gradients_;
  std::vector<std::vector<T>> parameter_gradients_;
};

}  // namespace lockstep::models::reference
