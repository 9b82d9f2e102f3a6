//! A stream of lines, before they are records.

use std::cell::RefCell;
use std::rc::Rc;

use super::columns::{Columns, FromColumns};
use super::data_stream::DataStream;
use super::topology::{Prototype, TopologyBuilder};
use crate::metrics::RejectCause;
use crate::operator::{Collector, MessageUse, StreamTime, TextHead};
use crate::source::Frame;
use crate::source::frame::SourceIndex;

/// Lines of text, borrowed from the source's buffers: what is kept of a line is what the closure makes of it.
///
/// Lines that are not UTF-8 or hold a NUL are rejected before any closure sees them.
#[must_use = "a stream does nothing until it ends in a sink"]
pub struct TextStream {
    builder: Rc<RefCell<TopologyBuilder>>,
    source: usize,
}

impl std::fmt::Debug for TextStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextStream").field("source", &self.source).finish_non_exhaustive()
    }
}

impl TextStream {
    pub(crate) fn new(builder: Rc<RefCell<TopologyBuilder>>, source: usize) -> Self {
        Self { builder, source }
    }

    /// Reads the columns of each line, separated by blanks, as numbers or text: `parse::<(i64, f64)>()`.
    ///
    /// A line with other columns is rejected: counted by cause, sampled in the log.
    pub fn parse<T: FromColumns + Send + 'static>(self) -> DataStream<T> {
        self.head("parse", |line: &str, out: &mut Collector<'_, T>| {
            out.collect(T::from_columns(&mut Columns::new(line))?);
            Ok(())
        })
    }

    /// One record for each line.
    pub fn map<T, F>(self, mut function: F) -> DataStream<T>
    where
        T: Send + 'static,
        F: FnMut(&str) -> T + Clone + Send + 'static,
    {
        self.head("map", move |line: &str, out: &mut Collector<'_, T>| {
            out.collect(function(line));
            Ok(())
        })
    }

    /// One record for each line, or the cause it is rejected for.
    pub fn try_map<T, F>(self, mut function: F) -> DataStream<T>
    where
        T: Send + 'static,
        F: FnMut(&str) -> Result<T, RejectCause> + Clone + Send + 'static,
    {
        self.head("map", move |line: &str, out: &mut Collector<'_, T>| {
            out.collect(function(line)?);
            Ok(())
        })
    }

    /// Any number of records for each line.
    pub fn flat_map<T, F>(self, mut function: F) -> DataStream<T>
    where
        T: Send + 'static,
        F: FnMut(&str, &mut Collector<'_, T>) + Clone + Send + 'static,
    {
        self.head("flat-map", move |line: &str, out: &mut Collector<'_, T>| {
            function(line, out);
            Ok(())
        })
    }

    /// One record for each line, or the cause it is rejected for, from the line and what its source knows of it: the topic of
    /// the MQTT message it came in, and more.
    pub fn try_map_frames<T, F>(self, mut function: F) -> DataStream<T>
    where
        T: Send + 'static,
        F: FnMut(&Frame<'_>) -> Result<T, RejectCause> + Clone + Send + 'static,
    {
        self.frames("map", MessageUse::Read, move |frame: &Frame<'_>, out: &mut Collector<'_, T>| {
            out.collect(function(frame)?);
            Ok(())
        })
    }

    fn head<T, F>(self, kind: &str, mut function: F) -> DataStream<T>
    where
        T: Send + 'static,
        F: FnMut(&str, &mut Collector<'_, T>) -> Result<(), RejectCause> + Clone + Send + 'static,
    {
        self.frames(kind, MessageUse::Ignored, move |frame: &Frame<'_>, out: &mut Collector<'_, T>| {
            function(frame.text(), out)
        })
    }

    fn frames<T, F>(self, kind: &str, messages: MessageUse, function: F) -> DataStream<T>
    where
        T: Send + 'static,
        F: FnMut(&Frame<'_>, &mut Collector<'_, T>) -> Result<(), RejectCause> + Clone + Send + 'static,
    {
        let source = SourceIndex(u16::try_from(self.source).expect("a job has few sources"));
        let prototype = Prototype::new(function);
        let slot = self.builder.borrow_mut().add_stage(
            kind,
            true,
            Box::new(move |name, context| {
                Ok(Box::new(TextHead::new(source, name, context, messages, prototype.instance())))
            }),
        );
        DataStream::new(self.builder, slot, StreamTime::None)
    }
}
