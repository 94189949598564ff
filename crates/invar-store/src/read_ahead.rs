use std::io::{self, Read};

use futures_util::{StreamExt, stream};
use invar_dataset::object::ObjectIdentity;
use tokio::{runtime::Runtime, sync::mpsc};

use crate::{StoreError, address::Address, fetch::fetch};

/// Bytes of a request.
const PIECE_BYTES: u64 = 4 << 20;
/// Requests at a time.
const REQUESTS: usize = 4;

/// An object read from front to back, by requests ahead of the reader: 24 MiB of it at most are in memory.
pub(crate) struct ReadAhead {
    pieces: mpsc::Receiver<Result<Vec<u8>, StoreError>>,
    piece: Vec<u8>,
    used: usize,
    left: u64,
}

impl ReadAhead {
    /// Starts to fetch. It ends when the reader is dropped.
    pub fn start(runtime: &Runtime, address: Address, object: ObjectIdentity) -> Self {
        let (sender, pieces) = mpsc::channel(1);
        let left = object.size_bytes;
        runtime.spawn(async move {
            let starts = stream::iter((0..left).step_by(PIECE_BYTES as usize));
            let fetch = |start| fetch(&address, &object, start..left.min(start + PIECE_BYTES));
            let mut fetched = std::pin::pin!(starts.map(fetch).buffered(REQUESTS));
            while let Some(piece) = fetched.next().await {
                let is_last = piece.is_err();
                if sender.send(piece).await.is_err() || is_last {
                    return;
                }
            }
        });
        Self { pieces, piece: Vec::new(), used: 0, left }
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.piece.len() && self.left > 0 {
            let died = || StoreError::broken("the reading task died");
            self.piece = self.pieces.blocking_recv().ok_or_else(died)??;
            (self.used, self.left) = (0, self.left - self.piece.len() as u64);
        }
        let num = buffer.len().min(self.piece.len() - self.used);
        buffer[..num].copy_from_slice(&self.piece[self.used..self.used + num]);
        self.used += num;
        Ok(num)
    }
}
