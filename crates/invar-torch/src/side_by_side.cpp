#include "shim.hpp"

#include <ATen/Parallel.h>
#include <algorithm>
#include <atomic>
#include <c10/core/GradMode.h>

namespace {

struct Work {
  size_t count;
  void (*body)(void *, size_t);
  void *context;
  // Threads of a pool have a mode of their own.
  bool tracks_gradients;
  std::atomic<size_t> next{0};
};

void take_turns(void *data) {
  auto &work = *static_cast<Work *>(data);
  c10::AutoGradMode mode(work.tracks_gradients);
  for (size_t number; (number = work.next++) < work.count;) work.body(work.context, number);
}

} // namespace

extern "C" {

// `at::parallel_for` is a template that would need this file to be compiled for OpenMP, and linked to another copy of it
// than LibTorch's, whose operations would then not know that they are inside of it.
char *invar_torch_side_by_side(size_t count, void (*body)(void *, size_t), void *context) {
  return guarded([&] {
    Work work{count, body, context, c10::GradMode::is_enabled()};
    const auto parallel = openmp<GompParallel>("GOMP_parallel");
    const auto threads = std::min<size_t>(count, at::get_num_threads());
    if (parallel == nullptr || threads <= 1 || at::in_parallel_region()) return take_turns(&work);
    parallel(
        [](void *data) {
          // Until the end of the region. oneDNN plans for as many threads as there might be and is then given one: without
          // this it leaves parts of a convolution's gradient undone.
          if (auto set_threads = openmp<void (*)(int)>("omp_set_num_threads")) set_threads(1);
          take_turns(data);
        },
        &work, static_cast<unsigned>(threads), 0);
  });
}
}
