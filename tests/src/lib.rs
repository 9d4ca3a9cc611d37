//! Whole rounds of SCALE FL against the real coordinator, in a process of its own that can be killed.
//!
//! [`process::CoordinatorProcess`] starts, kills and restarts it; [`device::RawDevice`] is a device that speaks the wire
//! message by message, so that a test decides on every single one; its brain is the kit's device, the machine that ships.
//! [`round::recovered_sum`] reads the integer sum back from what a round has published. [`liar`] is the other side of the
//! coin: a coordinator that lies, in memory, to real clients. [`solo`] is a real client in a process that can be killed.
//! [`world`] is what the tests of apps have around them, in a browser (wasm/tests) and on phones; [`gate`] withholds calls
//! there. [`s3`] is a server of object storage.
//! [`replicas::Replicas`] is several coordinators on one [`database`] behind a [`balancer`]; [`fleet`] takes part in
//! their rounds while they die and come back, and [`audit`] says afterwards whether every sum was exact.

pub mod audit;
pub mod balancer;
pub mod database;
pub mod device;
pub mod direct;
pub mod fleet;
pub mod gate;
pub mod liar;
pub mod person;
pub mod phone;
pub mod process;
pub mod replicas;
pub mod round;
pub mod s3;
pub mod solo;
pub mod trainer;
pub mod world;
