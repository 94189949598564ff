use std::sync::{Arc, Mutex, PoisonError};

/// Buffers that wait to be used again: memory fresh from the system costs a page fault every 4 KiB.
#[derive(Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

/// Buffers that are kept, and the largest of them.
const MAX_KEPT: usize = 32;
const MAX_KEPT_BYTES: usize = 4 << 20;

impl Buffers {
    /// A buffer of `len` bytes, whatever they are.
    pub fn take(&self, len: usize) -> Vec<u8> {
        let mut buffer = self.any();
        buffer.resize(len, 0);
        buffer
    }

    /// A buffer with these bytes.
    pub fn copy_of(&self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = self.any();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        buffer
    }

    /// Gives a buffer back.
    pub fn put(&self, buffer: Vec<u8>) {
        if (1..=MAX_KEPT_BYTES).contains(&buffer.capacity()) {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < MAX_KEPT {
                kept.push(buffer);
            }
        }
    }

    /// Gives a buffer back if nobody else has it.
    pub fn put_shared(&self, buffer: Arc<Vec<u8>>) {
        if let Ok(buffer) = Arc::try_unwrap(buffer) {
            self.put(buffer);
        }
    }

    fn any(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }
}
