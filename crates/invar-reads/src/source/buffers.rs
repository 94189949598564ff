use std::sync::{Arc, Mutex, PoisonError};

/// Buffers for reuse: memory fresh from the system costs a page fault every 4 KiB.
#[derive(Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

/// Maximum number of buffers kept, and their maximum size.
const MAX_KEPT: usize = 32;
const MAX_KEPT_BYTES: usize = 4 << 20;

impl Buffers {
    /// A buffer of `len` bytes with arbitrary content.
    pub fn take(&self, len: usize) -> Vec<u8> {
        let mut buffer = self.any();
        buffer.resize(len, 0);
        buffer
    }

    /// A buffer with a copy of these bytes.
    pub fn copy_of(&self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = self.any();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        buffer
    }

    /// Returns a buffer.
    pub fn put(&self, buffer: Vec<u8>) {
        if (1..=MAX_KEPT_BYTES).contains(&buffer.capacity()) {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < MAX_KEPT {
                kept.push(buffer);
            }
        }
    }

    /// Returns a buffer unless someone else holds it.
    pub fn put_shared(&self, buffer: Arc<Vec<u8>>) {
        if let Ok(buffer) = Arc::try_unwrap(buffer) {
            self.put(buffer);
        }
    }

    fn any(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }
}
