use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use super::Metered;

/// The stored bytes of an input, from its beginning, and how many of them have been used.
pub(super) struct Stored {
    inner: Chain<Cursor<Vec<u8>>, BufReader<Metered>>,
    offset: u64,
}

impl Stored {
    /// Puts `prefix`, which was taken from `rest`, back in front of it.
    pub fn new(prefix: Vec<u8>, rest: BufReader<Metered>) -> Self {
        Self { inner: Cursor::new(prefix).chain(rest), offset: 0 }
    }

    /// Number of bytes used so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn into_inner(self) -> Metered {
        self.inner.into_inner().1.into_inner()
    }
}

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.offset += n as u64;
        Ok(n)
    }
}

impl BufRead for Stored {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
        self.offset += amount as u64;
    }
}
