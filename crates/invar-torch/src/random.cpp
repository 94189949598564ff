#include "shim.hpp"

#include <ATen/Context.h>
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <cstdlib>
#include <mutex>

namespace {

at::Generator generator(int cuda_index) {
  auto device = cuda_index < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(cuda_index));
  return at::globalContext().defaultGenerator(device);
}

} // namespace

extern "C" {

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
}
