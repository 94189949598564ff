#include "shim.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_fused_adamw.h>
#include <c10/core/GradMode.h>
#include <vector>

namespace {

std::vector<at::Tensor> list(at::Tensor *const *tensors, size_t count) {
  std::vector<at::Tensor> result;
  result.reserve(count);
  for (size_t i = 0; i < count; ++i) result.push_back(*tensors[i]);
  return result;
}

} // namespace

extern "C" {

char *invar_torch_fused_adamw(size_t count, at::Tensor *const *params, at::Tensor *const *grads,
                              at::Tensor *const *exp_avgs, at::Tensor *const *exp_avg_sqs,
                              at::Tensor *const *steps, double lr, double beta1, double beta2, double weight_decay,
                              double eps) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto state_steps = list(steps, count);
    at::_foreach_add_(state_steps, 1);
    at::_fused_adamw_(list(params, count), list(grads, count), list(exp_avgs, count), list(exp_avg_sqs, count),
                      /*max_exp_avg_sqs=*/{}, state_steps, lr, beta1, beta2, weight_decay, eps, /*amsgrad=*/false,
                      /*maximize=*/false);
  });
}
}
