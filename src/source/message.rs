//! What a source knows of a frame besides its bytes.

use std::ops::Range;

use super::frame::FrameChunk;
use crate::mqtt::{Qos, TableEntry, TableMessage, TableReader};
use crate::runtime::Timestamp;

/// A line of text, with what its source knows of it.
#[derive(Debug)]
pub struct Frame<'a> {
    text: &'a str,
    message: Option<(&'a TableMessage<'a>, Timestamp)>,
}

impl<'a> Frame<'a> {
    pub(crate) fn new(text: &'a str, message: Option<(&'a TableMessage<'a>, Timestamp)>) -> Self {
        Self { text, message }
    }

    /// The line, without its end.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The topic of the message it came in; `None` for a line that came by itself, as for all that follows.
    pub fn topic(&self) -> Option<&'a str> {
        self.message.map(|(message, _)| message.topic)
    }

    /// A level of the topic, from 0: level 1 of `plant/boiler/7` is `boiler`.
    pub fn topic_level(&self, level: usize) -> Option<&'a str> {
        self.topic()?.split('/').nth(level)
    }

    /// The QoS the message came with.
    pub fn qos(&self) -> Option<Qos> {
        self.message.map(|(message, _)| message.qos)
    }

    /// True when the broker had kept the message, from before the subscription.
    pub fn is_retained(&self) -> bool {
        self.message.is_some_and(|(message, _)| message.is_retained)
    }

    /// The message's user properties, in the order they were sent. MQTT 5.
    pub fn user_properties(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.message.into_iter().flat_map(|(message, _)| message.user_properties())
    }

    /// The first user property of this name.
    pub fn user_property(&self, name: &str) -> Option<&'a str> {
        self.user_properties().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// When the message was received, or the first of those it was received together with, by the wall clock. Journaled with it,
    /// so a replay sees the same; unlike processing time it may go back.
    pub fn received_at(&self) -> Option<Timestamp> {
        self.message.map(|(_, received)| received)
    }
}

/// Goes through the messages of a chunk, frame by frame.
pub(crate) struct Messages<'a> {
    table: Option<TableReader<'a>>,
    current: Option<TableMessage<'a>>,
    /// Frames of it that are still to come.
    left: u64,
    received: Timestamp,
}

impl<'a> Messages<'a> {
    /// Before the first frame of `range`.
    pub(crate) fn of(chunk: &'a FrameChunk, range: &Range<usize>) -> Self {
        let table = TableReader::new(chunk.table());
        let received = Timestamp(table.as_ref().map_or(0, TableReader::received_ms));
        let mut messages = Self { table, current: None, left: 0, received };
        let mut skipped = chunk.table_start() + range.start as u64;
        while skipped > 0 && messages.advance() {
            let taken = skipped.min(messages.left);
            messages.left -= taken;
            skipped -= taken;
        }
        messages
    }

    /// Of a chunk whose messages do not matter.
    pub(crate) fn ignored() -> Self {
        Self { table: None, current: None, left: 0, received: Timestamp(0) }
    }

    /// Finds a message with frames to come.
    fn advance(&mut self) -> bool {
        while self.left == 0 {
            let Some(entry) = self.table.as_mut().and_then(Iterator::next) else {
                self.current = None;
                return false;
            };
            if let TableEntry::Message(message, _) = entry {
                self.left = message.frames;
                self.current = Some(message);
            }
        }
        true
    }

    /// The message of the next frame.
    #[inline]
    pub(crate) fn next_frame(&mut self) -> Option<(&TableMessage<'a>, Timestamp)> {
        if self.table.is_none() || !self.advance() {
            return None;
        }
        self.left -= 1;
        self.current.as_ref().map(|message| (message, self.received))
    }
}
