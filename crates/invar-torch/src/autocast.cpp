#include "shim.hpp"

#include <ATen/autocast_mode.h>

extern "C" {

// Turns autocast to `kind` on for a type of device, and tells what was there before.
char *invar_torch_autocast_enter(const char *device_type, int kind, bool *was_enabled, int *old_kind) {
  return guarded([&] {
    auto type = at::Device(device_type).type();
    *was_enabled = at::autocast::is_autocast_enabled(type);
    *old_kind = static_cast<int>(at::autocast::get_autocast_dtype(type));
    at::autocast::set_autocast_enabled(type, true);
    at::autocast::set_autocast_dtype(type, static_cast<at::ScalarType>(kind));
    at::autocast::increment_nesting();
  });
}

char *invar_torch_autocast_leave(const char *device_type, bool was_enabled, int old_kind) {
  return guarded([&] {
    auto type = at::Device(device_type).type();
    // The cache holds weights cast during the outermost guard; afterwards they change.
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(type, was_enabled);
    at::autocast::set_autocast_dtype(type, static_cast<at::ScalarType>(old_kind));
  });
}
}
