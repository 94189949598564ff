use std::io;

/// Whose an error is, and so what can be done about it. The command line makes its exit code of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultClass {
    /// The machine, or the program: a full disk, memory that is not there. Another time the same command may do.
    Failed,
    /// What was asked: a setting out of range, a path that is not there, an output that is there already.
    Usage,
    /// The data: a file is damaged, or two files do not fit together.
    BadInput,
    /// The user asked to stop.
    Interrupted,
}

/// An error that says whose it is. Every crate says it of its own errors; the command line only asks.
pub trait Fault: std::error::Error {
    /// Whose it is. [`FaultClass::Failed`] leaves the answer to the error's source, where it has one.
    fn class(&self) -> FaultClass;
}

/// A path that is not there, is a directory in the place of a file, or is taken, was named by whoever typed the command; all
/// else is the machine's. (A file of a dataset that its manifest lists is [`DatasetError::stored`](crate::DatasetError::stored).)
impl Fault for io::Error {
    fn class(&self) -> FaultClass {
        use io::ErrorKind::{AlreadyExists, IsADirectory, NotADirectory, NotFound};
        match self.kind() {
            NotFound | NotADirectory | IsADirectory | AlreadyExists => FaultClass::Usage,
            _ => FaultClass::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_there_is_usage_and_a_full_disk_the_machine() {
        let class = |kind: io::ErrorKind| io::Error::from(kind).class();
        assert_eq!(class(io::ErrorKind::NotFound), FaultClass::Usage);
        assert_eq!(class(io::ErrorKind::IsADirectory), FaultClass::Usage);
        assert_eq!(class(io::ErrorKind::StorageFull), FaultClass::Failed);
        assert_eq!(class(io::ErrorKind::PermissionDenied), FaultClass::Failed);
    }
}
