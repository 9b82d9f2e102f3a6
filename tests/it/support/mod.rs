//! What the scenarios share: the program under test, a server of lines, a plain model, random choices, waiting.

mod averages;
mod broker;
mod checkpoints;
mod descriptors;
mod job;
mod latch;
mod link;
mod memory_cgroup;
mod program;
mod publisher;
mod random;
mod replay;
mod sender;
mod server;
mod tree;
mod volume;
mod wait;

pub(crate) use averages::{Averages, lines_of};
pub(crate) use broker::Broker;
pub(crate) use checkpoints::CheckpointFolder;
pub(crate) use descriptors::{close, full_stream, start_child};
pub(crate) use job::{ERROR_VALUE, PANIC_VALUE, RunningAverage, join, start_job};
pub(crate) use latch::Latch;
pub(crate) use link::Link;
pub(crate) use memory_cgroup::MemoryCgroup;
pub(crate) use program::{Demo, Ended, Running, field};
pub(crate) use publisher::Publisher;
pub(crate) use random::Random;
pub(crate) use replay::{ended, replay, state_hash, tidegate};
pub(crate) use sender::send_carefully;
pub(crate) use server::{LineServer, send};
pub(crate) use tree::files_below;
pub(crate) use volume::Volume;
pub(crate) use wait::{WAIT_MAX, wait_until, wait_until_within};
