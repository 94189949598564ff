// A group of processes: c10d's backend, and the device whose tensors it takes.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>

struct Group {
  c10::intrusive_ptr<c10d::Backend> backend;
  at::Device device;
};
