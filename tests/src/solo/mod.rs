//! One real device in a process of its own, which stops at a chosen point of what it writes, so that a test can kill it
//! there as the kernel would. Around it a whole session, computed anew from what the device has sent: [`world`].

pub mod device;
pub mod process;
pub mod world;

mod watch;
