// What tch 0.24 does not bind. Every function returns null, or the message of the C++ exception it caught, which the
// caller frees with `invar_torch_free`.

#include <ATen/Context.h>
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_fused_adamw.h>
#include <c10/core/GradMode.h>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <future>
#include <malloc.h>
#include <mutex>
#include <pthread.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

template <typename F>
char *guarded(F &&body) {
  try {
    body();
    return nullptr;
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("unknown C++ exception");
  }
}

std::vector<at::Tensor> list(at::Tensor *const *tensors, size_t count) {
  std::vector<at::Tensor> result;
  result.reserve(count);
  for (size_t i = 0; i < count; ++i) result.push_back(*tensors[i]);
  return result;
}

at::Generator generator(int cuda_index) {
  auto device = cuda_index < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(cuda_index));
  return at::globalContext().defaultGenerator(device);
}

} // namespace

extern "C" {

void invar_torch_free(char *message) { std::free(message); }

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

char *invar_torch_rng_state(int cuda_index, at::Tensor **out) {
  return guarded([&] {
    auto gen = generator(cuda_index);
    std::lock_guard<std::mutex> lock(gen.mutex());
    *out = new at::Tensor(gen.get_state());
  });
}

char *invar_torch_set_rng_state(int cuda_index, const at::Tensor *state) {
  return guarded([&] {
    auto gen = generator(cuda_index);
    std::lock_guard<std::mutex> lock(gen.mutex());
    gen.set_state(*state);
  });
}

char *invar_torch_set_deterministic(bool on, bool warn_only) {
  return guarded([&] {
    if (on) setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
    at::globalContext().setDeterministicAlgorithms(on, warn_only);
    // Memory that is not written need not be filled to repeat what is.
    at::globalContext().setDeterministicFillUninitializedMemory(false);
    at::globalContext().setDeterministicCuDNN(on);
    at::globalContext().setBenchmarkCuDNN(false);
  });
}

void invar_torch_keep_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 256 << 20);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
#endif
}

char *invar_torch_stop_spinning(unsigned num_threads) {
  return guarded([&] {
    // Of GNU's OpenMP, the one in LibTorch's Linux builds: run a function in a team of threads.
    using Parallel = void (*)(void (*)(void *), void *, unsigned, unsigned);
    auto parallel = reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
    if (parallel == nullptr) return;
    std::promise<void> started;
    std::thread([&started, parallel, num_threads] {
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_BLOCK, &all, nullptr);
      parallel([](void *) {}, nullptr, num_threads, 0);
      started.set_value();
      // The team lives as long as the thread that made it.
      for (;;) pause();
    }).detach();
    started.get_future().wait();
  });
}
}
