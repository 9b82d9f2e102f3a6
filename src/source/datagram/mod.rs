//! Lines in datagrams: UDP from the network, Unix datagrams from this machine.
//!
//! A datagram is one or more lines, the last of which needs no end; a line is a frame, and never goes on in the next
//! datagram. One that is longer than the limit is dropped whole and counted, an empty one too.
//!
//! Limits: a datagram has at most `datagram_bytes_max` bytes and is received straight into the chunk under way, so nothing is
//! copied and a source holds two chunks at most.
//!
//! Back-pressure: while a chunk is on its way and the next is full, nothing is received. Then UDP datagrams wait in the
//! kernel's receive buffer, and when that is full the kernel drops them; how many it says in `/proc/net/udp`, and the job
//! reports it (`kernel_drops`). A sender of Unix datagrams is held by the kernel instead, and none is dropped.
//!
//! There is no acknowledgement: what the kernel holds when the process ends is lost. In an orderly stop it is received first.

mod assembly;
mod config;
mod kernel_drops;
mod run;
mod socket;

pub use config::{UdpReceive, UnixReceive};
pub(crate) use run::run_datagrams;
pub(crate) use socket::OpenDatagrams;
