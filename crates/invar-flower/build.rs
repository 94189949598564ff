//! Makes the messages of Flower's Fleet API of their descriptors; see `proto/README.md`.

use std::{error::Error, fs};

use prost::Message;
use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto/flower.binpb");
    let descriptors = FileDescriptorSet::decode(&fs::read("proto/flower.binpb")?[..])?;
    // Maps in the order of their keys, so that the same message is the same bytes.
    prost_build::Config::new().btree_map(["."]).compile_fds(descriptors)?;
    Ok(())
}
