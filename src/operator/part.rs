//! Parts: the share of a batch that travels from one subtask to another, and the spare buffers for them.

use std::any::Any;
use std::sync::Mutex;

/// Spare parts an edge keeps at most.
const SPARE_PARTS_MAX: usize = 16;

/// A part whose type both ends of the edge know.
pub(crate) type AnyPart = Box<dyn Any + Send>;

/// A batch's parts frame by frame: the frame's number, and what it led to. What timers led to, at the begin and the end of
/// the batch, is of no frame. Takes the place of a part in a batch that is processed frame by frame.
pub(crate) struct TracedPart(pub(crate) Vec<(Option<u64>, AnyPart)>);

/// Spare buffers of one edge, at most 16 (a `heapless` vector): downstream puts what upstream takes, so a steady
/// stream allocates nothing and large buffers do not wander between the threads' heaps.
#[derive(Debug)]
pub(crate) struct PartPool<P> {
    spare: Mutex<heapless::Vec<P, SPARE_PARTS_MAX>>,
}

impl<P> Default for PartPool<P> {
    fn default() -> Self {
        Self { spare: Mutex::new(heapless::Vec::new()) }
    }
}

impl<P: Default> PartPool<P> {
    /// A spare part, or a new one.
    pub(crate) fn take(&self) -> P {
        self.lock().pop().unwrap_or_default()
    }

    /// Gives an emptied part back; it is freed when the pool is full.
    pub(crate) fn put(&self, part: P) {
        drop(self.lock().push(part));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, heapless::Vec<P, SPARE_PARTS_MAX>> {
        self.spare.lock().expect("no code panics while it holds the pool")
    }
}
