use std::rc::Rc;

use invar_torch::ProcessGroup;
use tch::Device;

/// Where training runs: on which device, and alongside which other processes.
#[derive(Clone)]
pub struct Place {
    /// The device of this process.
    pub device: Device,
    /// The processes that train together.
    pub group: Rc<ProcessGroup>,
}

/// A process on its own.
impl From<Device> for Place {
    fn from(device: Device) -> Self {
        Self { device, group: Rc::new(ProcessGroup::solo()) }
    }
}
