/// Where a long-running library call says how far it is, and asks whether it should stop.
///
/// Libraries never print: the command line draws a bar from this.
pub trait Progress: Sync {
    /// The whole of the work in the unit of [`Progress::advance`], once it is known.
    fn set_total(&self, total: u64);

    /// So much more is done.
    fn advance(&self, amount: u64);

    /// What is being done now, for a person.
    fn message(&self, text: &str);

    /// Whether the user asked to stop. Work in hand is finished or dropped cleanly, and what is finished stays.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// For callers who do not watch.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn set_total(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn message(&self, _: &str) {}
}
