//! The head of a source stage: frames to records through a closure over text.

use std::marker::PhantomData;
use std::sync::Arc;

use super::SubtaskContext;
use super::chain::{Buffer, Head, Slot, buffer};
use super::collector::Collector;
use super::error::OperatorError;
use super::part::AnyPart;
use crate::metrics::{Provenance, RejectCause, Rejections};
use crate::runtime::BatchHeader;
use crate::source::frame::{FrameChunk, Frames, Share, SourceIndex, trim_line_end};
use crate::source::{Frame, Messages};

/// The part a source stage's subtasks get: all frames of the batch; each takes its share.
#[derive(Clone)]
pub(crate) struct FrameInput {
    pub(crate) frames: Arc<Frames>,
    /// Only the frame of this number, counted from 0 within the batch.
    pub(crate) only: Option<u64>,
}

impl FrameInput {
    /// The frames of a share that are to be processed, where any are.
    pub(crate) fn range_of(&self, share: &Share<'_>) -> Option<std::ops::Range<usize>> {
        let Some(only) = self.only else { return Some(share.range.clone()) };
        let at = only.checked_sub(share.first_frame)? as usize;
        share.range.contains(&at).then_some(at..at + 1)
    }
}

/// Whether a head's closure looks at more of a frame than its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageUse {
    Ignored,
    Read,
}

/// Turns lines into records; a line the closure refuses is rejected with its cause.
pub(crate) struct TextHead<T, F> {
    source: SourceIndex,
    context: SubtaskContext,
    function: F,
    messages: MessageUse,
    rejections: Rejections,
    types: PhantomData<fn() -> T>,
}

impl<T, F> TextHead<T, F>
where
    T: 'static,
    F: FnMut(&Frame<'_>, &mut Collector<'_, T>) -> Result<(), RejectCause>,
{
    pub(crate) fn new(
        source: SourceIndex,
        name: &str,
        context: &SubtaskContext,
        messages: MessageUse,
        function: F,
    ) -> Self {
        let rejections = Rejections::new(name, Arc::clone(&context.metrics));
        Self { source, context: context.clone(), function, messages, rejections, types: PhantomData }
    }

    fn chunk(&mut self, chunk: &FrameChunk, range: &std::ops::Range<usize>, out: &mut Vec<T>) {
        let first_line = chunk.first_line + range.start as u64;
        let mut collector = Collector::new(out);
        let mut messages = match self.messages {
            MessageUse::Ignored => Messages::ignored(),
            MessageUse::Read => Messages::of(chunk, range),
        };
        visit_lines(chunk, range, |index, line| {
            collector.next_record();
            let message = messages.next_frame();
            let outcome = match line {
                Ok(text) => (self.function)(&Frame::new(text, message), &mut collector)
                    .map_err(|cause| (cause, text.as_bytes())),
                Err(refused) => Err(refused),
            };
            if let Err((cause, bytes)) = outcome {
                self.rejections.reject(cause, provenance(chunk, first_line + index as u64), || bytes.into());
            }
        });
    }
}

/// Gives each frame of `range` to `visit`: its number in the range, and its text without the line's end, or why it is none, with its
/// bytes.
///
/// The text of a run of frames is checked once: a line end is ASCII, so lines of valid text are valid.
#[inline(always)]
pub(crate) fn visit_lines<'c>(
    chunk: &'c FrameChunk,
    range: &std::ops::Range<usize>,
    mut visit: impl FnMut(usize, Result<&'c str, (RejectCause, &'c [u8])>),
) {
    let bytes = chunk.bytes(range);
    let (start, ends) = chunk.ends(range);
    let mut from = 0;
    match std::str::from_utf8(bytes) {
        Ok(text) if memchr::memchr(0, bytes).is_none() => {
            for (index, end) in ends.iter().enumerate() {
                let to = *end as usize - start;
                visit(index, Ok(trim_line_end(&text[from..to])));
                from = to;
            }
        }
        // Somewhere there is a NUL, or bytes that are not UTF-8: looks at each line alone.
        _ => {
            for (index, end) in ends.iter().enumerate() {
                let to = *end as usize - start;
                visit(index, line_of(&bytes[from..to]));
                from = to;
            }
        }
    }
}

#[cold]
fn line_of(frame: &[u8]) -> Result<&str, (RejectCause, &[u8])> {
    match std::str::from_utf8(frame) {
        Err(_) => Err((RejectCause::NOT_UTF8, frame.trim_ascii_end())),
        Ok(_) if memchr::memchr(0, frame).is_some() => Err((RejectCause::NUL, frame.trim_ascii_end())),
        Ok(text) => Ok(trim_line_end(text)),
    }
}

pub(crate) fn provenance(chunk: &FrameChunk, line: u64) -> Option<Provenance<'_>> {
    Some(Provenance { origin: &chunk.origin, line })
}

impl<T, F> Head for TextHead<T, F>
where
    T: 'static,
    F: FnMut(&Frame<'_>, &mut Collector<'_, T>) -> Result<(), RejectCause>,
{
    fn new_buffer(&self) -> Box<dyn Slot> {
        Box::new(Buffer::<T>::default())
    }

    fn frames(&self, part: &AnyPart) -> Vec<u64> {
        let input: &FrameInput = part.downcast_ref().expect("the sequencer sends frames");
        let shares = input.frames.share(self.source, self.context.index, self.context.parallelism);
        shares.flat_map(|share| share.range.map(move |at| share.first_frame + at as u64)).collect()
    }

    fn run(
        &mut self,
        _header: &BatchHeader,
        parts: Vec<AnyPart>,
        out: &mut dyn Slot,
    ) -> Result<(), OperatorError> {
        let out = &mut buffer::<T>(out).records;
        for part in parts {
            let input: Box<FrameInput> = part.downcast().expect("the sequencer sends frames");
            for share in input.frames.share(self.source, self.context.index, self.context.parallelism) {
                let Some(range) = input.range_of(&share) else { continue };
                self.chunk(share.chunk, &range, out);
            }
        }
        self.rejections.end_batch();
        Ok(())
    }
}
