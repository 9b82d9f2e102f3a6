//! Sinks: where results go. A sink writes whole batches, in order, and only what is durable in the journal.
//!
//! A sink knows through which batch it has delivered. A batch that is replayed behind a restart or a rewind is
//! recognised by its offset and not delivered again: a file is cut to the length the checkpoint names and written on
//! from there, standard output keeps a log of its position, an MQTT sink has its outbox.

pub(crate) mod dead_letter;
mod file;
mod memory;
pub(crate) mod mqtt;
pub(crate) mod outbox;
mod print;

pub use memory::Collected;
pub use mqtt::MqttPublish;
pub(crate) use outbox::BYTES_MIN as OUTBOX_BYTES_MIN;
pub use outbox::WhenFull;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::SinkPosition;
use crate::disk::Disk;
use crate::runtime::Offset;

/// Writes the results of batches.
pub(crate) trait SinkWriter: Send {
    /// Writes one batch's results. Returns once the operating system has all of them.
    ///
    /// # Errors
    /// The operating system's. Nothing of the batch is left behind where that can be had; after `StorageFull` the same
    /// batch is tried again.
    fn write(&mut self, offset: Offset, results: &[u8]) -> io::Result<()>;

    /// Makes durable what was written and returns its length in bytes, where it has one.
    ///
    /// # Errors
    /// The operating system's. What was written since the last sync may be gone; the sink is not used again, unless the disk
    /// was full and [`SinkWriter::after_full_sync`] says otherwise.
    fn sync(&mut self) -> io::Result<u64>;

    /// What a sync that failed on a full disk means.
    fn after_full_sync(&self) -> AfterFullSync {
        AfterFullSync::Never
    }

    /// Who takes what is written.
    fn takers(&self) -> Takers {
        Takers::Machine
    }
}

/// Who takes what a sink writes, and so how long a write may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takers {
    /// Memory or a disk of this machine: a write that does not return is a fault.
    Machine,
    /// Another process, which may take nothing for as long as it likes.
    Reader,
}

/// Whether a sink goes on after a sync that failed on a full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterFullSync {
    /// What was written is still held: the sync is tried again.
    Again,
    /// What was written may be gone.
    Never,
}

/// The output of a job.
#[derive(Debug, Clone)]
pub(crate) enum SinkSpec {
    /// Lines on standard output.
    Print,
    /// Lines appended to a file.
    File(PathBuf),
    /// Lines kept in memory.
    Memory(Collected),
    /// Messages at an MQTT broker.
    Mqtt(Box<MqttPublish>),
}

/// Whether the batches of a job keep their numbers over a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputNumbers {
    /// There is a journal.
    Kept,
    Lost,
}

/// What a sink is opened with.
pub(crate) struct SinkStart<'a> {
    pub(crate) job: &'a str,
    pub(crate) disk: &'a Arc<dyn Disk>,
    /// A directory for what the sink must remember besides.
    pub(crate) positions: Option<&'a Path>,
    /// Where the checkpoint left it.
    pub(crate) restored: Option<&'a SinkPosition>,
    /// The last batch there is; the offsets behind it are given again.
    pub(crate) last: Offset,
}

/// What a sink does when its job has ended.
pub(crate) trait SinkEnd: Send {
    /// Brings away what it can, for a few seconds at most, and says what is left. Blocks.
    fn end(&mut self) -> Option<OutboxReport>;
}

/// What is left in a sink's outbox when its job ends, and what became of the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxReport {
    /// The sink.
    pub sink: String,
    /// Outputs not delivered yet.
    pub waiting: u64,
    /// What they take, with what is stored beside them and delivered outputs that are kept.
    pub bytes: u64,
    /// Since when the first of them has been waiting, by the wall clock.
    pub oldest_age: Option<Duration>,
    /// Outputs delivered since the job began.
    pub delivered: u64,
    /// Dropped because the outbox was full, over the outbox's whole life like all that follow.
    pub dropped: u64,
    /// Dropped because they were too old.
    pub expired: u64,
    /// Folded into summaries.
    pub folded: u64,
    /// Refused by the broker for good.
    pub refused: u64,
    /// Blocks of outputs that were damaged.
    pub damaged_blocks: u64,
}

/// A sink that is ready, and the batch through which it has delivered.
pub(crate) struct OpenSink {
    pub(crate) writer: Box<dyn SinkWriter>,
    pub(crate) delivered: Offset,
    /// Taken when the job ends.
    pub(crate) end: Option<Box<dyn SinkEnd>>,
}

impl SinkSpec {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Print => "print".to_owned(),
            Self::File(path) => format!("file {}", path.display()),
            Self::Memory(_) => "memory".to_owned(),
            Self::Mqtt(publish) => format!("mqtt {}", publish.topic()),
        }
    }

    /// Whether the sink can be had by a job that keeps its outputs' numbers, or not.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(crate) fn check(&self, numbers: OutputNumbers) -> Result<(), String> {
        let Self::Mqtt(publish) = self else { return Ok(()) };
        if cfg!(not(feature = "sled")) {
            return Err(
                "this program was built without sled, which holds the outbox of an MQTT sink".to_owned()
            );
        }
        if numbers == OutputNumbers::Lost {
            return Err(
                "an MQTT sink needs a data directory and a journal: without them an output has no lasting id"
                    .to_owned(),
            );
        }
        publish.check().map(drop)
    }

    /// Opens the sink where the checkpoint left it.
    ///
    /// # Errors
    /// The operating system's when a file cannot be opened or cut.
    pub(crate) fn open(&self, start: &SinkStart<'_>) -> io::Result<OpenSink> {
        let SinkStart { disk, positions, restored, .. } = *start;
        let delivered = restored.map_or(Offset(0), |position| position.delivered);
        match self {
            Self::Print => print::open(disk, positions, delivered),
            Self::File(path) => {
                let writer = file::FileWriter::open(Arc::clone(disk), path, restored.map(|from| from.bytes))?;
                Ok(OpenSink { writer: Box::new(writer), delivered, end: None })
            }
            Self::Memory(collected) => {
                Ok(OpenSink { writer: Box::new(collected.clone()), delivered, end: None })
            }
            Self::Mqtt(publish) => mqtt::open(publish, start),
        }
    }
}
