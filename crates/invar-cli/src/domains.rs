//! The domains, as the command line knows them.

use crate::exit::{ClassOf, class_of};

/// Their errors, each of which knows what is at fault.
pub const FAULTS: &[ClassOf] = &[
    class_of::<invar_reads::Error>,
    class_of::<invar_reads::PairsError>,
    class_of::<invar_reads::ConfigError>,
    class_of::<invar_micrographs::Error>,
    class_of::<invar_contigs::Error>,
    class_of::<invar_graphs::Error>,
];
