//! What the scenarios share: the program under test, a server of lines, a plain model, random choices, waiting.

mod averages;
mod broker;
mod certificates;
mod checkpoints;
mod descriptors;
#[cfg(feature = "remotes")]
mod device;
mod foreign;
mod installed;
mod job;
mod latch;
mod link;
#[cfg(feature = "remotes")]
mod machine;
mod memory_cgroup;
#[cfg(feature = "remotes")]
mod namespace;
mod other_broker;
mod port;
mod program;
#[cfg(feature = "remotes")]
mod proxy;
mod publisher;
mod random;
mod remote_place;
mod replay;
mod sender;
mod server;
#[cfg(feature = "remotes")]
mod servers;
mod service_manager;
mod skip;
mod subscriber;
mod tree;
mod volume;
mod wait;
mod wall_clock;

pub(crate) use averages::{Averages, lines_of};
pub(crate) use broker::Broker;
pub(crate) use certificates::{TlsClient, certificates, has_openssl, passwords};
pub(crate) use checkpoints::CheckpointFolder;
pub(crate) use descriptors::{close, full_stream, start_child};
#[cfg(feature = "remotes")]
pub(crate) use device::{Device, send_readings};
pub(crate) use foreign::Program;
pub(crate) use job::{ERROR_VALUE, PANIC_VALUE, RunningAverage, join, start_job};
pub(crate) use latch::Latch;
pub(crate) use link::Link;
#[cfg(feature = "remotes")]
pub(crate) use machine::{Board, GUEST_PORT, HOST, PoweredBoard};
pub(crate) use memory_cgroup::MemoryCgroup;
#[cfg(feature = "remotes")]
pub(crate) use namespace::Namespace;
pub(crate) use other_broker::{OtherBroker, Version};
pub(crate) use program::{Demo, Ended, Running, field};
#[cfg(feature = "remotes")]
pub(crate) use proxy::Proxy;
pub(crate) use publisher::Publisher;
pub(crate) use random::Random;
pub(crate) use remote_place::{DEVICE, RemotePlace, wait_until_shipped};
pub(crate) use replay::{ended, replay, state_hash, tidegate};
pub(crate) use sender::send_carefully;
pub(crate) use server::{LineServer, send};
#[cfg(feature = "remotes")]
pub(crate) use servers::{Kind, RemoteServer};
pub(crate) use service_manager::ServiceManager;
pub(crate) use skip::skip;
pub(crate) use subscriber::{Received, Subscriber};
pub(crate) use tree::files_below;
pub(crate) use volume::Volume;
pub(crate) use wait::{WAIT_MAX, wait_until, wait_until_within};
pub(crate) use wall_clock::WallClock;
