#include "process_group.hpp"
#include "shim.hpp"

#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

extern "C" char *invar_torch_group_nccl(c10d::Store *store, size_t rank, size_t size, size_t local_rank,
                                        int64_t timeout_ms, Group **out) {
  return guarded([&] {
    // So that `wait` waits, for the timeout at most, and throws. Otherwise a thread of c10d ends the process.
    setenv("TORCH_NCCL_BLOCKING_WAIT", "1", /*overwrite=*/1);
    at::globalContext().lazyInitDevice(at::kCUDA);
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = std::chrono::milliseconds(timeout_ms);
    auto backend = c10::make_intrusive<c10d::ProcessGroupNCCL>(
        c10::intrusive_ptr<c10d::Store>::reclaim_copy(store), static_cast<int>(rank), static_cast<int>(size), options);
    *out = new Group{std::move(backend), at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(local_rank))};
  });
}
