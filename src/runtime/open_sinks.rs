//! The sinks of a job that starts: each goes on where the checkpoint says it stood.

use std::path::Path;
use std::sync::Arc;

use super::batch::Offset;
use super::error::JobError;
use crate::checkpoint::Contents;
use crate::disk::Disk;
use crate::sink::{OpenSink, SinkStart};
use crate::stream::Topology;

pub(super) fn open_sinks(
    topology: &Topology,
    disk: &Arc<dyn Disk>,
    directory: Option<&Path>,
    contents: Option<&Contents>,
    goes_on: bool,
    last: Offset,
) -> Result<Vec<OpenSink>, JobError> {
    let remembered = directory.filter(|_| goes_on).map(|directory| directory.join("sinks"));
    let open = |sink: &crate::stream::Sink| {
        let name = sink.spec.name();
        // Without a journal nothing is replayed: what was delivered stays.
        let restored = contents
            .filter(|_| goes_on)
            .and_then(|contents| contents.manifest.sinks.iter().find(|position| position.sink == name));
        let mut opened = sink
            .spec
            .open(&SinkStart { job: &topology.job, disk, positions: remembered.as_deref(), restored, last })
            .map_err(|source| JobError::Sink { sink: name, source })?;
        // After a declared loss the offsets behind it are given again.
        opened.delivered = opened.delivered.min(last);
        Ok(opened)
    };
    topology.sinks.iter().map(open).collect()
}

/// Says of sinks that hold results already that they get some again: no checkpoint is left that says where they stood.
pub(super) fn report_repeated(
    topology: &Topology,
    sinks: &mut [OpenSink],
    (from, through): (Offset, Offset),
) -> Result<(), JobError> {
    for (sink, opened) in topology.sinks.iter().zip(sinks) {
        let name = sink.spec.name();
        match opened.writer.sync() {
            Ok(0) => {}
            Ok(bytes) => tracing::error!(
                sink = name, bytes, again = %format_args!("{from}..={through}"),
                "no checkpoint is left that says where the sink stood: results it has may be written to it again"
            ),
            Err(source) => return Err(JobError::Sink { sink: name, source }),
        }
    }
    Ok(())
}
