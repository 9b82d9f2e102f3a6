//! The head of a source's stage: frames to rows.

use std::sync::Arc;

use super::rejected::Rejected;
use super::rows::Rows;
use crate::metrics::RejectCause;
use crate::operator::{
    AnyPart, FrameInput, Head, OperatorError, Slot, SubtaskContext, provenance, visit_lines,
};
use crate::query::column::{Column, Values};
use crate::query::datum::Datum;
use crate::query::format::{Decoder, OutputFormat, RowEncoder};
use crate::query::row_batch::RowBatch;
use crate::query::schema::{Metadata, Origin};
use crate::query::source::QuerySource;
use crate::query::sql_type::SqlType;
use crate::query::vector::Failures;
use crate::runtime::BatchHeader;
use crate::source::frame::{FrameChunk, SourceIndex};
use crate::source::{END_OF_INPUT, Frame, Messages};

/// The row has no event time.
const NO_EVENT_TIME: RejectCause = RejectCause::new("no-event-time");
/// The row's event time is further ahead of the clock than the source allows.
const TIME_AHEAD: RejectCause = RejectCause::new("time-ahead");
/// The column is NULL, and is declared NOT NULL.
const NULL_NOT_ALLOWED: RejectCause = RejectCause::new("null-not-allowed");

/// Decodes the frames of a source.
pub(crate) struct Scan {
    source: SourceIndex,
    spec: Arc<QuerySource>,
    context: SubtaskContext,
    decoder: Decoder,
    types: Vec<SqlType>,
    /// The columns that come from the frame, as they are decoded, and their numbers.
    decoded: Vec<Column>,
    decoded_at: Vec<usize>,
    /// The columns the source knows, and their numbers.
    known: Vec<Column>,
    known_at: Vec<usize>,
    failures: Failures,
    rejected: Rejected,
}

impl Scan {
    /// # Errors
    /// A schema that the format does not go with.
    pub(crate) fn new(
        source: SourceIndex,
        spec: Arc<QuerySource>,
        context: &SubtaskContext,
    ) -> Result<Self, String> {
        let columns = &spec.schema.columns;
        let numbered = |wanted: fn(&Origin) -> bool| {
            let at = columns.iter().enumerate().filter(|(_, column)| wanted(&column.origin));
            at.map(|(at, _)| at).collect::<Vec<usize>>()
        };
        let decoded_at = numbered(|origin| matches!(origin, Origin::Frame));
        let known_at = numbered(|origin| matches!(origin, Origin::Metadata(_)));
        let empty = |at: &Vec<usize>| at.iter().map(|at| Column::new(columns[*at].sql_type)).collect();
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        let types: Vec<SqlType> = columns.iter().map(|column| column.sql_type).collect();
        Ok(Self {
            source,
            decoder: spec.decoder()?,
            decoded: empty(&decoded_at),
            decoded_at,
            known: empty(&known_at),
            known_at,
            failures: Failures::default(),
            rejected: Rejected::new(
                &spec.name,
                RowEncoder::new(OutputFormat::Json, &names, &types)?,
                context,
            ),
            context: context.clone(),
            types,
            spec,
        })
    }

    /// Decodes the frames of a chunk; returns how many rows there are of them, and whether the input has ended.
    fn chunk(
        &mut self,
        header: &BatchHeader,
        chunk: &FrameChunk,
        range: &std::ops::Range<usize>,
    ) -> (usize, bool) {
        let first_line = chunk.first_line + range.start as u64;
        let mut messages =
            if self.known_at.is_empty() { Messages::ignored() } else { Messages::of(chunk, range) };
        let (mut count, mut has_ended) = (0, false);
        visit_lines(chunk, range, |index, line| {
            let message = messages.next_frame();
            let outcome = match line {
                Ok(END_OF_INPUT) if self.spec.is_file => {
                    has_ended = true;
                    Ok(())
                }
                Ok(text) => {
                    let frame = Frame::new(text, message);
                    let received = frame.received_at().unwrap_or(header.stamp).0;
                    match self.decoder.decode(text, received, &mut self.decoded) {
                        Ok(rows) => {
                            for _ in 0..rows {
                                for (column, at) in self.known.iter_mut().zip(&self.known_at) {
                                    if let Origin::Metadata(metadata) = &self.spec.schema.columns[*at].origin
                                    {
                                        push_known(column, metadata, &frame, header, chunk);
                                    }
                                }
                            }
                            count += rows as usize;
                            Ok(())
                        }
                        Err(cause) => Err((cause, text.as_bytes())),
                    }
                }
                Err(refused) => Err(refused),
            };
            if let Err((cause, bytes)) = outcome {
                self.rejected.frame(header, cause, provenance(chunk, first_line + index as u64), bytes);
            }
        });
        (count, has_ended)
    }

    /// Computes the columns that are computed, and notes the rows that cannot be.
    fn compute(&mut self, rows: &mut RowBatch, now: i64) {
        for (at, column) in self.spec.schema.columns.iter().enumerate() {
            if let Origin::Computed(expression) = &column.origin {
                let computed = expression.evaluate(rows, now, &mut self.failures).into_column(rows.len);
                rows.columns[at] = computed;
            }
            let is_decoded = matches!(column.origin, Origin::Frame);
            let column_nulls = &rows.columns[at].nulls;
            if column.is_required && !is_decoded && !column_nulls.is_empty() {
                for (row, _) in column_nulls.iter().enumerate().filter(|(_, is_null)| **is_null) {
                    self.failures.add(row, NULL_NOT_ALLOWED);
                }
            }
        }
    }

    /// Gives the rows their event time, and notes those that can have none.
    fn stamp(&mut self, rows: &mut RowBatch, now: i64) {
        let Some(watermark) = &self.spec.schema.watermark else { return };
        let column = &rows.columns[watermark.column];
        let Values::BigInt(times) = &column.values else { return };
        let latest = self.spec.latest(now);
        for (row, time) in times.iter().enumerate() {
            if column.is_null(row) {
                self.failures.add(row, NO_EVENT_TIME);
            } else if *time > latest {
                self.failures.add(row, TIME_AHEAD);
            }
        }
        rows.times.extend_from_slice(times);
    }

    /// Rejects the rows that failed, and goes on with the others.
    #[cold]
    fn reject(&mut self, header: &BatchHeader, rows: &mut RowBatch) {
        self.rejected.rows(header, rows, &mut self.failures);
        let mut kept = Vec::new();
        self.failures.select(rows.len, |_| true, &mut kept);
        let all = std::mem::replace(rows, RowBatch::new(&self.types));
        rows.extend_rows(&all, &kept);
    }
}

/// Appends what the source knows of a frame.
fn push_known(
    column: &mut Column,
    metadata: &Metadata,
    frame: &Frame<'_>,
    header: &BatchHeader,
    chunk: &FrameChunk,
) {
    match metadata {
        Metadata::Topic => column.push_text(frame.topic()),
        Metadata::TopicLevel(level) => column.push_text(frame.topic_level(*level)),
        Metadata::UserProperty(name) => column.push_text(frame.user_property(name)),
        Metadata::Origin => column.push_text(Some(&chunk.origin)),
        Metadata::Qos => {
            column.push(&frame.qos().map_or(Datum::Null, |qos| Datum::BigInt(i64::from(qos.level()))));
        }
        Metadata::Retained => {
            column.push(&frame.topic().map_or(Datum::Null, |_| Datum::Boolean(frame.is_retained())));
        }
        Metadata::ReceiveTime => {
            column.push(&Datum::Timestamp(frame.received_at().unwrap_or(header.stamp).0));
        }
        Metadata::Offset => {
            column.push(&Datum::BigInt(i64::try_from(header.offset.0).unwrap_or(i64::MAX)));
        }
    }
}

impl Head for Scan {
    fn new_buffer(&self) -> Box<dyn Slot> {
        Box::new(Rows::new(&self.types, &[]))
    }

    fn frames(&self, part: &AnyPart) -> Vec<u64> {
        let input: &FrameInput = part.downcast_ref().expect("the sequencer sends frames");
        let shares = input.frames.share(self.source, self.context.index, self.context.parallelism);
        shares.flat_map(|share| share.range.map(move |at| share.first_frame + at as u64)).collect()
    }

    fn run(
        &mut self,
        header: &BatchHeader,
        parts: Vec<AnyPart>,
        out: &mut dyn Slot,
    ) -> Result<(), OperatorError> {
        let rows = &mut Rows::of(out).rows;
        self.decoded.iter_mut().chain(&mut self.known).for_each(Column::clear);
        self.failures.0.clear();
        let mut has_ended = false;
        for part in parts {
            let input: Box<FrameInput> = part.downcast().expect("the sequencer sends frames");
            for share in input.frames.share(self.source, self.context.index, self.context.parallelism) {
                let Some(range) = input.range_of(&share) else { continue };
                let (count, ended) = self.chunk(header, share.chunk, &range);
                rows.len += count;
                has_ended |= ended;
            }
        }
        let columns =
            self.decoded.iter_mut().zip(&self.decoded_at).chain(self.known.iter_mut().zip(&self.known_at));
        for (column, at) in columns {
            std::mem::swap(column, &mut rows.columns[*at]);
        }
        let now = header.stamp.0;
        self.compute(rows, now);
        self.stamp(rows, now);
        if !self.failures.is_empty() {
            self.reject(header, rows);
        }
        rows.mark = rows.times.iter().max().copied();
        if has_ended && self.spec.schema.watermark.is_some() {
            rows.mark = Some(i64::MAX);
        }
        self.rejected.end_batch();
        Ok(())
    }
}
