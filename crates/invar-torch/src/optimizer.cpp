#include "shim.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/GradMode.h>
#include <vector>

namespace {

std::vector<at::Tensor> list(at::Tensor *const *tensors, size_t count) {
  std::vector<at::Tensor> result;
  result.reserve(count);
  for (size_t i = 0; i < count; ++i) result.push_back(*tensors[i]);
  return result;
}

// The kernel walks the memory of all tensors side by side and looks at no strides, while autograd may give a gradient in
// another order than its parameter's: that of a convolution's kernel comes channels last.
at::Tensor as_laid_out(const at::Tensor &grad, const at::Tensor &param) {
  TORCH_CHECK(grad.sizes() == param.sizes(), "a gradient is ", grad.sizes(), ", its parameter ", param.sizes());
  return grad.strides() == param.strides() ? grad : at::empty_like(param).copy_(grad);
}

void check_state(const std::vector<at::Tensor> &state, const std::vector<at::Tensor> &params) {
  for (size_t i = 0; i < params.size(); ++i) {
    TORCH_CHECK(params[i].is_non_overlapping_and_dense(), "a parameter ", params[i].sizes(), " has gaps in memory");
    TORCH_CHECK(state[i].sizes() == params[i].sizes() && state[i].strides() == params[i].strides(),
                "state is ", state[i].sizes(), " with strides ", state[i].strides(), ", its parameter ",
                params[i].sizes(), " with strides ", params[i].strides());
  }
}

} // namespace

extern "C" {

char *invar_torch_fused_adamw(size_t count, at::Tensor *const *params, at::Tensor *const *grads,
                              at::Tensor *const *exp_avgs, at::Tensor *const *exp_avg_sqs,
                              at::Tensor *const *steps, double lr, double beta1, double beta2, double weight_decay,
                              double eps) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto weights = list(params, count), gradients = list(grads, count);
    auto means = list(exp_avgs, count), squares = list(exp_avg_sqs, count), state_steps = list(steps, count);
    check_state(means, weights);
    check_state(squares, weights);
    for (size_t i = 0; i < count; ++i) gradients[i] = as_laid_out(gradients[i], weights[i]);
    at::_foreach_add_(state_steps, 1);
    at::_fused_adamw_(weights, gradients, means, squares,
                      /*max_exp_avg_sqs=*/{}, state_steps, lr, beta1, beta2, weight_decay, eps, /*amsgrad=*/false,
                      /*maximize=*/false);
  });
}
}
