#include "shim.hpp"

#include <ATen/Context.h>

extern "C" {

char *invar_torch_set_deterministic(bool on, bool warn_only) {
  return guarded([&] {
    at::globalContext().setDeterministicAlgorithms(on, warn_only);
    // Memory that is not written need not be filled to repeat what is.
    at::globalContext().setDeterministicFillUninitializedMemory(false);
    at::globalContext().setDeterministicCuDNN(on);
    at::globalContext().setBenchmarkCuDNN(false);
  });
}
}
