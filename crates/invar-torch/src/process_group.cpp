#include "process_group.hpp"
#include "shim.hpp"

#include <c10/core/GradMode.h>
#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

using std::chrono::milliseconds;

namespace {

// As `guarded`; tells failures of the connection from refusals of LibTorch: its own errors other than those of the
// distributed package are about the tensors, and Gloo's, which are no `c10::Error`, about the connection.
template <typename F>
char *guarded_from_peers(bool *lost_peer, F &&body) {
  *lost_peer = false;
  return guarded([&] {
    try {
      at::NoGradGuard no_grad;
      body();
    } catch (const c10::DistError &) {
      *lost_peer = true;
      throw;
    } catch (const c10::Error &) {
      throw;
    } catch (...) {
      *lost_peer = true;
      throw;
    }
  });
}

// The tensor itself where the group can take it, else a contiguous copy on the group's device.
at::Tensor staged(const Group &group, const at::Tensor &tensor) {
  return tensor.detach().to(group.device).contiguous();
}

template <typename F>
void in_place(const Group &group, at::Tensor &tensor, F &&operation) {
  std::vector<at::Tensor> tensors{staged(group, tensor)};
  operation(tensors)->wait();
  if (!tensors[0].is_alias_of(tensor)) tensor.copy_(tensors[0]);
}

std::shared_ptr<gloo::transport::Device> gloo_device(const char *address) {
  // The variable with which users of PyTorch choose the network.
  const char *interface = std::getenv("GLOO_SOCKET_IFNAME");
  if (interface != nullptr && *interface != '\0') return c10d::ProcessGroupGloo::createDeviceForInterface(interface);
  return c10d::ProcessGroupGloo::createDeviceForHostname(address);
}

} // namespace

extern "C" {

char *invar_torch_store(const char *host, uint16_t port, size_t size, bool is_server, int64_t timeout_ms,
                        c10d::Store **out) {
  return guarded([&] {
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = is_server;
    options.numWorkers = size;
    options.timeout = milliseconds(timeout_ms);
    *out = c10::make_intrusive<c10d::TCPStore>(host, options).release();
  });
}

char *invar_torch_store_set(c10d::Store *store, const char *key, const char *value) {
  return guarded([&] { store->set(key, std::string(value)); });
}

char *invar_torch_store_get(c10d::Store *store, const char *key, char **value) {
  return guarded([&] { *value = strdup(store->get_to_str(key).c_str()); });
}

void invar_torch_store_free(c10d::Store *store) { c10::intrusive_ptr<c10d::Store>::reclaim(store); }

char *invar_torch_group_gloo(c10d::Store *store, size_t rank, size_t size, const char *address, int64_t timeout_ms,
                             Group **out) {
  return guarded([&] {
    auto options = c10d::ProcessGroupGloo::Options::create(milliseconds(timeout_ms));
    options->devices.push_back(gloo_device(address));
    auto backend = c10::make_intrusive<c10d::ProcessGroupGloo>(
        c10::intrusive_ptr<c10d::Store>::reclaim_copy(store), static_cast<int>(rank), static_cast<int>(size), options);
    *out = new Group{std::move(backend), at::Device(at::kCPU)};
  });
}

void invar_torch_group_free(Group *group) { delete group; }

char *invar_torch_all_reduce(const Group *group, at::Tensor *tensor, bool *lost_peer) {
  return guarded_from_peers(lost_peer, [&] {
    in_place(*group, *tensor, [&](auto &tensors) { return group->backend->allreduce(tensors); });
  });
}

char *invar_torch_broadcast(const Group *group, at::Tensor *tensor, bool *lost_peer) {
  return guarded_from_peers(lost_peer, [&] {
    in_place(*group, *tensor, [&](auto &tensors) { return group->backend->broadcast(tensors); });
  });
}

char *invar_torch_all_gather(const Group *group, const at::Tensor *tensor, at::Tensor **out, bool *lost_peer) {
  return guarded_from_peers(lost_peer, [&] {
    auto input = staged(*group, *tensor);
    auto shape = input.sizes().vec();
    shape.at(0) *= group->backend->getSize();
    auto output = at::empty(shape, input.options());
    group->backend->_allgather_base(output, input)->wait();
    *out = new at::Tensor(output.to(tensor->device()));
  });
}

char *invar_torch_barrier(const Group *group, bool *lost_peer) {
  return guarded_from_peers(lost_peer, [&] {
    c10d::BarrierOptions options;
    if (group->device.is_cuda()) options.device_ids = {group->device.index()};
    group->backend->barrier(options)->wait();
  });
}
}
