// What every file of the shim uses. A function that can fail returns null, or the message of the C++ exception it
// caught, which the caller frees with `invar_torch_free`.
#pragma once

#include <cstring>
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
