//! Value state: one value for each key.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::cow::CowVec;
use super::descriptor::StateValue;
use super::keyed::{Cursor, Slot};

/// A handle to a value state; reads and writes the value of the key the operator is processing.
///
/// Declared through [`StateRegistry::value`](super::StateRegistry::value).
#[derive(Debug)]
pub struct ValueState<V> {
    cursor: Rc<Cursor>,
    column: Rc<RefCell<ValueColumn<V>>>,
}

impl<V: StateValue> ValueState<V> {
    pub(crate) fn new(cursor: Rc<Cursor>, column: Rc<RefCell<ValueColumn<V>>>) -> Self {
        Self { cursor, column }
    }

    /// The value, or `None` when the key has none.
    #[inline]
    pub fn value(&self) -> Option<V> {
        self.column.borrow().get(self.cursor.slot()).cloned()
    }

    /// Sets the value.
    #[inline]
    pub fn update(&self, value: V) {
        let was_absent = self.column.borrow_mut().cell(self.cursor.slot()).replace(value).is_none();
        if was_absent {
            self.cursor.appeared();
        }
    }

    /// Removes the value.
    pub fn clear(&self) {
        let slot = self.cursor.slot();
        if self.column.borrow().get(slot).is_some() {
            *self.column.borrow_mut().cell(slot) = None;
            self.cursor.vanished();
        }
    }
}

/// What a table does with a state column without knowing its type; called per batch, never per record.
pub(crate) trait StateColumn {
    /// Reads one byte of each slot, so that the cache misses of a batch overlap.
    fn touch(&self, slots: &[Slot]);

    /// Shares the column as it is now.
    fn snapshot(&mut self) -> Box<dyn ColumnSnapshot>;

    /// Sets the value at `slot` from its encoded form.
    fn load(&mut self, slot: Slot, encoded: &[u8]) -> Result<(), postcard::Error>;
}

/// A shared column, read while a part is written.
pub(crate) trait ColumnSnapshot: Send {
    /// True when there is a value at `row` of the group with this index.
    fn holds(&self, group: usize, row: usize) -> bool;

    /// Appends the value's encoded form; `false` when there is none.
    fn encode(&self, group: usize, row: usize, out: &mut Vec<u8>) -> Result<bool, postcard::Error>;
}

/// Values by key group and row.
#[derive(Debug)]
pub(crate) struct ValueColumn<V> {
    groups: Vec<CowVec<Option<V>>>,
}

impl<V: StateValue> ValueColumn<V> {
    pub(crate) fn new(group_count: usize) -> Self {
        Self { groups: (0..group_count).map(|_| CowVec::new()).collect() }
    }

    #[inline]
    fn get(&self, slot: Slot) -> Option<&V> {
        self.groups[usize::from(slot.group)].as_slice().get(slot.row as usize)?.as_ref()
    }

    #[inline]
    fn cell(&mut self, slot: Slot) -> &mut Option<V> {
        let rows = self.groups[usize::from(slot.group)].to_mut();
        let row = slot.row as usize;
        if rows.len() <= row {
            rows.resize(row + 1, None);
        }
        &mut rows[row]
    }
}

impl<V: StateValue> StateColumn for ValueColumn<V> {
    fn touch(&self, slots: &[Slot]) {
        let present = slots.iter().filter(|slot| self.get(**slot).is_some()).count();
        std::hint::black_box(present);
    }

    fn snapshot(&mut self) -> Box<dyn ColumnSnapshot> {
        Box::new(ValueColumnSnapshot { groups: self.groups.iter_mut().map(CowVec::share).collect() })
    }

    fn load(&mut self, slot: Slot, encoded: &[u8]) -> Result<(), postcard::Error> {
        *self.cell(slot) = Some(postcard::from_bytes(encoded)?);
        Ok(())
    }
}

struct ValueColumnSnapshot<V> {
    groups: Vec<Arc<Vec<Option<V>>>>,
}

impl<V: StateValue> ValueColumnSnapshot<V> {
    fn get(&self, group: usize, row: usize) -> Option<&V> {
        self.groups[group].get(row)?.as_ref()
    }
}

impl<V: StateValue> ColumnSnapshot for ValueColumnSnapshot<V> {
    fn holds(&self, group: usize, row: usize) -> bool {
        self.get(group, row).is_some()
    }

    fn encode(&self, group: usize, row: usize, out: &mut Vec<u8>) -> Result<bool, postcard::Error> {
        match self.get(group, row) {
            Some(value) => {
                postcard::serialize_with_flavor(value, Appender(out))?;
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

/// Lets postcard append to a vector that is used again for the next value.
struct Appender<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appender<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
