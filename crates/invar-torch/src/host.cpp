#include "shim.hpp"

#include <csignal>
#include <dlfcn.h>
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
