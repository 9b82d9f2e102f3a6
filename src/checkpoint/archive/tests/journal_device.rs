//! A device that ships its journal, and one that restores it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::device::{archive, checkpoint_of, policy, write};
use crate::checkpoint::archive::paths::PieceName;
use crate::checkpoint::archive::*;
use crate::checkpoint::{CheckpointId, Pins};
use crate::disk::{Disk, RealDisk};
use crate::journal::{
    Entry, ExcerptReader, JournalReader, JournalWriter, SegmentFormat, SegmentSettings, recover,
};
use crate::remote::{MemoryStore, RemoteName};
use crate::runtime::{Offset, Timestamp};
use crate::source::frame::{FrameBuffers, FrameChunk, Frames, SourceIndex};

/// A device with a journal: a batch has one line, of one client, which says who took it in.
pub(super) struct Device {
    pub(super) directory: tempfile::TempDir,
    pub(super) pins: Pins,
    pub(super) shipping: Shipping,
    pub(super) writer: JournalWriter,
    pub(super) durable: watch::Sender<Offset>,
    pub(super) name: char,
    pub(super) now: Duration,
}

pub(super) fn entry(offset: u64, name: char) -> Entry {
    let lines = format!("{offset} {name} {}\n", "x".repeat(usize::try_from(offset % 30).unwrap()));
    let ends = vec![u32::try_from(lines.len()).unwrap()];
    let buffers = FrameBuffers { ends, bytes: lines.into_bytes(), ..FrameBuffers::default() };
    let chunk = FrameChunk::new(SourceIndex(0), "@client".into(), offset, buffers, Arc::default());
    let stamp = Timestamp(i64::try_from(offset).unwrap() * 10 + i64::from(u32::from(name)));
    Entry { offset: Offset(offset), stamp, frames: Arc::new(Frames { chunks: vec![chunk] }) }
}

impl Device {
    pub(super) fn new(store: &Arc<MemoryStore>, name: char) -> Self {
        Self::at(tempfile::tempdir().unwrap(), archive(store), name)
    }

    pub(super) fn at(directory: tempfile::TempDir, archive: Archive, name: char) -> Self {
        RealDisk.create_directory(&directory.path().join("parts")).unwrap();
        let journal = directory.path().join("journal");
        RealDisk.create_directory(&journal).unwrap();
        let recovered = recover(&RealDisk, &journal, "job", Offset(1)).unwrap();
        assert_eq!(recovered.corruption, None);
        let settings = SegmentSettings { segment_bytes: 1000, compress: false, format: SegmentFormat::Lines };
        let writer =
            JournalWriter::new(Arc::new(RealDisk), &journal, "job", settings, &recovered, recovered.last);
        let pins = Pins::default();
        let mut shipping = Shipping::new(ShippingStart {
            archive,
            disk: Arc::new(RealDisk),
            directory: directory.path().to_owned(),
            pins: pins.clone(),
            policy: ShippingPolicy { seed: 3, ..policy() },
        });
        let (durable, receiver) = watch::channel(recovered.last);
        let reader = ExcerptReader::new(Arc::new(RealDisk), journal);
        shipping.ship_journal(JournalShipping::new(reader, receiver, Duration::from_secs(5)));
        Self { directory, pins, shipping, writer, durable, name, now: Duration::ZERO }
    }

    /// The process dies and starts again; what it was restored from is offered.
    pub(super) fn restarted(self, archive: Archive, checkpoint: u64) -> Self {
        let device = Self::at(self.directory, archive, self.name);
        device.checkpoint(checkpoint);
        device
    }

    pub(super) fn take_in(&mut self, count: u64) {
        let next = self.writer.written().0 + 1;
        self.writer.append((next..next + count).map(|offset| entry(offset, self.name)).collect()).unwrap();
        self.writer.sync().unwrap();
        self.durable.send_replace(self.writer.durable());
    }

    /// Completes a checkpoint; it is as of ten times its id.
    pub(super) fn checkpoint(&self, id: u64) {
        let mut checkpoint = checkpoint_of(id, &[("a", &[u8::try_from(id).unwrap()])]);
        checkpoint.readings = checkpoint.offset.0;
        checkpoint.clients = vec![("client".into(), checkpoint.offset.0)];
        write(&self.directory.path().join("parts/a"), &[u8::try_from(id).unwrap()]);
        self.pins.offer(&checkpoint);
    }

    /// Ships until nothing is left that can be shipped, or `steps` are over.
    pub(super) fn ship(&mut self, steps: usize) -> Turn {
        let mut waits = 0;
        for _ in 0..steps {
            let now = Moment { monotonic: self.now, wall_ms: 1_000_000 };
            match self.shipping.turn(now) {
                Turn::Step => self.shipping.step(now),
                Turn::WaitUntil(_) if waits == 12 => return Turn::Idle,
                Turn::WaitUntil(at) => {
                    let is_all = self.shipped_through() == Some(self.writer.durable());
                    waits += usize::from(is_all) + 1;
                    self.now = at;
                }
                end => return end,
            }
        }
        Turn::Step
    }

    pub(super) fn shipped_through(&self) -> Option<Offset> {
        let now = Moment { monotonic: self.now, wall_ms: 1_000_000 };
        self.shipping.status(now).journal_through
    }

    pub(super) fn ship_all(&mut self) {
        self.ship(100_000);
        assert_eq!(self.shipped_through(), Some(self.writer.durable()));
    }
}

/// What a restore into an empty directory gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Brought {
    pub(super) checkpoint: u64,
    /// Who took in which batch behind it.
    pub(super) batches: BTreeMap<u64, char>,
    pub(super) lost: Option<(u64, u64)>,
}

pub(super) fn restore_into(
    archive: &Archive,
    directory: &Path,
    id: Option<u64>,
) -> Result<Brought, ArchiveError> {
    let mut restorer = Restorer::new(archive, Arc::new(RealDisk), directory).without_pauses();
    let wanted = Wanted { id: id.map(CheckpointId), ..Wanted::default() };
    let fetched = restorer.restore(wanted, &mut |_| ())?.expect("there is a checkpoint");
    let offset = fetched.shipped.checkpoint.offset;
    let journal = directory.join("journal");
    let recovered = recover(&RealDisk, &journal, "job", offset.next()).unwrap();
    assert_eq!(recovered.corruption, None);
    let restored = fetched.restored();
    let last = recovered.last.max(offset);
    assert!(last >= restored.offset);
    if last == restored.offset {
        assert_eq!(restored.readings, last.0, "one reading a batch");
        assert_eq!(restored.clients, [("client".to_owned(), last.0)]);
    }
    let mut reader =
        JournalReader::open(Arc::new(RealDisk), &journal, offset.next(), recovered.last, BTreeMap::new())
            .unwrap();
    let mut batches = BTreeMap::new();
    while let Some((batch, _)) = reader.next_batch().unwrap() {
        let line = String::from_utf8(batch.chunks[0].lines.clone()).unwrap();
        let mut words = line.split(' ');
        assert_eq!(words.next().unwrap(), batch.offset.to_string());
        batches.insert(batch.offset.0, words.next().unwrap().chars().next().unwrap());
    }
    let lost = fetched.lost().map(|lost| (lost.batches.0.0, lost.batches.1.0));
    Ok(Brought { checkpoint: fetched.shipped.checkpoint.id.0, batches, lost })
}

pub(super) fn restore(store: &Arc<MemoryStore>, id: Option<u64>) -> Brought {
    restore_into(&archive(store), tempfile::tempdir().unwrap().path(), id).unwrap()
}

pub(super) fn brought(checkpoint: u64, batches: std::ops::RangeInclusive<u64>, by: char) -> Brought {
    Brought { checkpoint, batches: batches.map(|offset| (offset, by)).collect(), lost: None }
}

pub(super) fn pieces(store: &Arc<MemoryStore>) -> Vec<PieceName> {
    let mut names: Vec<PieceName> =
        archive(store).pieces().unwrap().into_iter().map(|(name, _)| name).collect();
    names.sort();
    names
}

pub(super) fn object(store: &Arc<MemoryStore>, piece: &PieceName) -> RemoteName {
    archive(store).paths.piece(piece)
}

/// A device that has shipped checkpoint 1, as of batch 10, and batches to 40 in many pieces.
pub(super) fn shipped(store: &Arc<MemoryStore>) -> Device {
    let mut device = Device::new(store, 'a');
    device.take_in(10);
    device.checkpoint(1);
    for _ in 0..6 {
        device.take_in(5);
        device.ship_all();
    }
    device
}

pub(super) fn pieces_of(archive: &Archive) -> Vec<PieceName> {
    archive.pieces().unwrap().into_iter().map(|(name, _)| name).collect()
}
