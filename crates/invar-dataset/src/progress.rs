/// Where a long-running library call reports its progress, and asks whether it should stop.
///
/// Libraries never print: the command line draws a bar from this.
pub trait Progress: Sync {
    /// The total amount of work, in the unit of [`Progress::advance`], once it is known.
    fn set_total(&self, total: u64);

    /// Reports that this much more is done.
    fn advance(&self, amount: u64);

    /// What is being done now, for the user.
    fn message(&self, text: &str);

    /// Whether the user asked to stop. Work in progress is finished or dropped cleanly, and what is finished stays.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// For callers that do not watch.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn set_total(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn message(&self, _: &str) {}
}
