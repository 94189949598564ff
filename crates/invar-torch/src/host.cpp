#include "shim.hpp"

#include <csignal>
#include <future>
#include <malloc.h>
#include <pthread.h>
#include <thread>
#include <unistd.h>

extern "C" {

void invar_torch_keep_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 256 << 20);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
#endif
}

char *invar_torch_stop_spinning(unsigned num_threads) {
  return guarded([&] {
    auto parallel = openmp<GompParallel>("GOMP_parallel");
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
