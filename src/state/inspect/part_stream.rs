//! A part read from front to back, one entry at a time, so that its size does not matter.
//!
//! The format is described in `part`; this reads it from a stream whose hash was verified before.

use std::io::{self, Read};

use crate::state::StateError;
use crate::state::key::KEY_BYTES_MAX;
use crate::state::key_group::{GroupSet, KeyGroup};
use crate::state::part::{HEADER_BYTES_MAX, MAGIC, PartHeader, VERSION};
use crate::state::timers::TimeDomain;

/// What a part holds of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartItem<'a> {
    /// A key with its entry.
    Entry(KeyGroup, &'a [u8], &'a [u8]),
    /// A timer, its time in milliseconds.
    Timer(KeyGroup, TimeDomain, i64, &'a [u8]),
}

/// Reads a part.
pub(crate) struct PartStream<R> {
    input: R,
    header: PartHeader,
    position: usize,
    key: Vec<u8>,
    entry: Vec<u8>,
}

impl<R: Read> PartStream<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`StateError::Malformed`] when it is not a part.
    pub(crate) fn open(mut input: R) -> Result<Self, StateError> {
        let malformed = |detail| StateError::Malformed { operator: String::new(), position: 0, detail };
        let mut prefix = [0; 14];
        input.read_exact(&mut prefix).map_err(|_| malformed("a state part"))?;
        let (magic, rest) = prefix.split_first_chunk::<8>().expect("it has 14 bytes");
        let (version, header_bytes) = rest.split_first_chunk::<2>().expect("it has 14 bytes");
        if *magic != MAGIC {
            return Err(malformed("the magic of a state part"));
        }
        if u16::from_le_bytes(*version) != VERSION {
            return Err(malformed("format version 2"));
        }
        let header_bytes = header_bytes.first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        if header_bytes > HEADER_BYTES_MAX {
            return Err(malformed("a part header of at most 16 MiB"));
        }
        let mut header = Vec::new();
        append(&mut input, header_bytes, &mut header).map_err(|_| malformed("a part header"))?;
        let header = postcard::from_bytes(&header).map_err(|_| malformed("a part header"))?;
        let position = prefix.len() + header_bytes as usize;
        Ok(Self { input, header, position, key: Vec::new(), entry: Vec::new() })
    }

    pub(crate) fn header(&self) -> &PartHeader {
        &self.header
    }

    /// Visits what it holds of `groups`, in order; what `visit` fails with ends it.
    ///
    /// # Errors
    /// [`StateError::Malformed`] as `InvalidData`; those of `visit`.
    pub(crate) fn visit(
        mut self,
        groups: &GroupSet,
        visit: &mut dyn FnMut(&PartHeader, PartItem<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        loop {
            let group = u16::from_le_bytes(self.array("a block or the end mark")?);
            if group == u16::MAX {
                return Ok(());
            }
            let entries = u32::from_le_bytes(self.array("the number of entries")?);
            let timers = u32::from_le_bytes(self.array("the number of timers")?);
            let _payload_bytes: [u8; 8] = self.array("the length of a block")?;
            let is_wanted = groups.contains(group);
            for _ in 0..entries {
                self.read_key()?;
                self.entry.clear();
                for _ in 0..self.header.states.len() {
                    self.read_state()?;
                }
                if is_wanted {
                    visit(&self.header, PartItem::Entry(KeyGroup(group), &self.key, &self.entry))?;
                }
            }
            for _ in 0..timers {
                let domain = match self.array("the clock of a timer")? {
                    [0] => TimeDomain::ProcessingTime,
                    [1] => TimeDomain::EventTime,
                    _ => return Err(self.malformed("the clock of a timer")),
                };
                let time = i64::from_le_bytes(self.array("the time of a timer")?);
                self.read_key()?;
                if is_wanted {
                    visit(&self.header, PartItem::Timer(KeyGroup(group), domain, time, &self.key))?;
                }
            }
        }
    }

    fn read_key(&mut self) -> io::Result<()> {
        let length = u16::from_le_bytes(self.array("the length of a key")?);
        self.key.clear();
        let is_key = usize::from(length) <= KEY_BYTES_MAX
            && append(&mut self.input, u32::from(length), &mut self.key).is_ok();
        self.position += usize::from(length);
        if is_key { Ok(()) } else { Err(self.malformed("a key")) }
    }

    fn read_state(&mut self) -> io::Result<()> {
        let length: [u8; 4] = self.array("the length of a value")?;
        self.entry.extend_from_slice(&length);
        let bytes = u32::from_le_bytes(length).saturating_sub(1);
        let read = append(&mut self.input, bytes, &mut self.entry);
        self.position += bytes as usize;
        if read.is_ok() { Ok(()) } else { Err(self.malformed("a value")) }
    }

    fn array<const N: usize>(&mut self, detail: &'static str) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        let read = self.input.read_exact(&mut bytes);
        self.position += N;
        if read.is_ok() { Ok(bytes) } else { Err(self.malformed(detail)) }
    }

    fn malformed(&self, detail: &'static str) -> io::Error {
        let operator = self.header.operator.clone();
        let error = StateError::Malformed { operator, position: self.position, detail };
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// Appends `length` bytes; allocates as they come, since a length may lie.
fn append(input: &mut impl Read, length: u32, out: &mut Vec<u8>) -> io::Result<()> {
    let read = input.take(u64::from(length)).read_to_end(out)?;
    if read == length as usize { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
