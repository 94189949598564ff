// What every file of the shim uses. A function that can fail returns null, or the message of the C++ exception it
// caught, which the caller frees with `invar_torch_free`.
#pragma once

#include <cstring>
#include <dlfcn.h>
#include <exception>

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

// A function of GNU's OpenMP, the one in LibTorch's Linux builds; null elsewhere. Linking one would bring a second copy.
template <typename F>
F openmp(const char *name) {
  return reinterpret_cast<F>(dlsym(RTLD_DEFAULT, name));
}

// Runs a function in a team of threads: the function, its argument, threads, flags.
using GompParallel = void (*)(void (*)(void *), void *, unsigned, unsigned);
