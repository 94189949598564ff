//! How long training took, and how much of that it waited for data.

use std::time::{Duration, Instant};

use crate::Timing;

#[derive(Default)]
pub(super) struct Clock {
    pub(super) elapsed: Duration,
    pub(super) waited: Duration,
    pub(super) pairs: u64,
    since_log: (Duration, Duration, u64),
}

impl Clock {
    pub(super) fn lap(&mut self, lap: &mut Instant, waited: Duration, pairs: usize) {
        let now = Instant::now();
        self.elapsed += now - *lap;
        self.waited += waited;
        self.pairs += pairs as u64;
        *lap = now;
    }

    /// Time spent on validation, logs and checkpoints counts as elapsed too.
    pub(super) fn resume(&mut self, lap: Instant) -> Instant {
        let now = Instant::now();
        self.elapsed += now - lap;
        now
    }

    pub(super) fn timing(&self) -> Timing {
        let (elapsed, waited, pairs) = self.since_log;
        let elapsed_s = (self.elapsed - elapsed).as_secs_f64().max(f64::MIN_POSITIVE);
        let wait_s = (self.waited - waited).as_secs_f64();
        Timing {
            pairs_per_s: (self.pairs - pairs) as f64 / elapsed_s,
            wait_s,
            wait_fraction: wait_s / elapsed_s,
            elapsed_s: self.elapsed.as_secs_f64(),
            unix_s: Timing::now(),
        }
    }

    pub(super) fn logged(&mut self) {
        self.since_log = (self.elapsed, self.waited, self.pairs);
    }
}
