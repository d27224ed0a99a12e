//! Stubs and messages from what protoc made of examples/hello/hello.proto; its path is in `HELLO_DESCRIPTORS`.

use std::error::Error;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=HELLO_DESCRIPTORS");
    let path = std::env::var("HELLO_DESCRIPTORS").map_err(|_| "run the script named build in this folder instead")?;
    println!("cargo::rerun-if-changed={path}");
    let descriptors = prost_types::FileDescriptorSet::decode(std::fs::read(path)?.as_slice())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
