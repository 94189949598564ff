#include "shim.hpp"

#include <cstdlib>

extern "C" void invar_torch_free(char *message) { std::free(message); }
