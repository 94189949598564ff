use std::io;

/// What is at fault for an error, and so what can be done about it. The command line derives its exit code from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultClass {
    /// The machine, or the program: a full disk, too little memory. The same command may succeed another time.
    Failed,
    /// The request: a setting out of range, a missing path, an output that already exists.
    Usage,
    /// The data: a file is damaged, or two files do not fit together.
    BadInput,
    /// The user asked to stop.
    Interrupted,
}

/// An error that knows what is at fault. Every crate classifies its own errors; the command line only asks.
pub trait Fault: std::error::Error {
    /// The class of the error. [`FaultClass::Failed`] defers to the error's source, if it has one.
    fn class(&self) -> FaultClass;
}

/// A path that does not exist, is a directory instead of a file, or is taken, was given on the command line; all other
/// errors are the machine's. (A file of a dataset that its manifest lists is
/// [`DatasetError::stored`](crate::DatasetError::stored).)
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
