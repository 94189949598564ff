//! Batches on a device, and encoders: the LibTorch boundary.
