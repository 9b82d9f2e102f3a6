//! The digest of keyed state: equal state has equal digests, on any machine and with any number of subtasks.
//!
//! This is the normative description. BLAKE3 over, little-endian, for each operator in the given order:
//!   name      u32 length, bytes
//!   states    u32 count; per state, in the order of their names: u32 length, bytes
//!   per key group that holds a key or a timer, ascending: group u16, then its keys in the order of their bytes:
//!     key     u32 length, bytes
//!     values  per state, in the same order: u32 length + 1, bytes; 0 = absent
//!     and its timers in firing order: clock u8, time i64, key as above
//!   end       u16 = 0xFFFF
//!
//! Keys and values are the bytes a state part holds (see `part`). A key's row is not covered: rows depend on which
//! keys came and went before.

use super::StateError;
use super::part::{PartReader, split_state};

const END_MARK: u16 = u16::MAX;

/// Digests operators one by one.
#[derive(Debug, Default)]
pub(crate) struct StateDigest {
    hasher: blake3::Hasher,
}

impl StateDigest {
    /// Takes in one operator, given the state parts of its subtasks in subtask order.
    ///
    /// # Errors
    /// [`StateError::Malformed`] for bytes that are not a part.
    pub(crate) fn operator(&mut self, name: &str, parts: &[Vec<u8>]) -> Result<(), StateError> {
        self.bytes(name.as_bytes());
        let mut is_first = true;
        for part in parts {
            let mut reader = PartReader::new(part)?;
            let names: Vec<String> = reader.header().states.iter().map(|state| state.name.clone()).collect();
            let mut order: Vec<usize> = (0..names.len()).collect();
            order.sort_by_key(|index| &names[*index]);
            if std::mem::take(&mut is_first) {
                self.length(names.len());
                order.iter().for_each(|index| self.bytes(names[*index].as_bytes()));
            }
            while let Some(group) = reader.next_group()? {
                let mut entries = Vec::new();
                while let Some((key, mut entry)) = reader.next_entry()? {
                    let values =
                        (0..names.len()).map(|_| split_state(&mut entry)).collect::<Option<Vec<_>>>();
                    entries.push((key, values.ok_or_else(|| reader.malformed("a value of each state"))?));
                }
                entries.sort_unstable_by_key(|(key, _)| *key);
                self.hasher.update(&group.0.to_le_bytes());
                for (key, values) in entries {
                    self.bytes(key);
                    for value in order.iter().map(|index| values[*index]) {
                        match value {
                            None => self.length(0),
                            Some(value) => {
                                self.length(value.len() + 1);
                                self.hasher.update(value);
                            }
                        }
                    }
                }
                while let Some((domain, time, key)) = reader.next_timer()? {
                    self.hasher.update(&[domain as u8]);
                    self.hasher.update(&time.to_le_bytes());
                    self.bytes(key);
                }
            }
        }
        self.hasher.update(&END_MARK.to_le_bytes());
        Ok(())
    }

    /// The digest of all operators taken in.
    pub(crate) fn finish(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.hasher.update(bytes);
    }

    fn length(&mut self, length: usize) {
        let length = u32::try_from(length).expect("keys, values and names are below 4 GiB");
        self.hasher.update(&length.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::descriptor::{StateKind, StateSchema};
    use crate::state::key_group::{KeyGroup, KeyGroupRange, MaxParallelism};
    use crate::state::part::{PartHeader, PartWriter, push_state};

    /// A part of groups, each with its keys and their only values.
    fn part(range: (u16, u16), groups: &[(u16, &[(u8, u8)])]) -> Vec<u8> {
        let header = PartHeader {
            operator: "o".into(),
            key_type: "k".into(),
            max_parallelism: MaxParallelism::new(4).unwrap(),
            range: KeyGroupRange { start: range.0, end: range.1 },
            states: vec![StateSchema {
                name: "s".into(),
                kind: StateKind::Value,
                type_name: "v".into(),
                version: 1,
                has_ttl: false,
            }],
            lists: Vec::new(),
        };
        let mut bytes = Vec::new();
        let mut writer = PartWriter::new(&mut bytes, &header).unwrap();
        for (group, entries) in groups {
            for (key, value) in *entries {
                let value = |out: &mut Vec<u8>| {
                    out.push(*value);
                    Ok(true)
                };
                writer.entry(&[*key], |out| push_state(out, value)).unwrap();
            }
            writer.end_group(KeyGroup(*group)).unwrap();
        }
        writer.finish().unwrap();
        bytes
    }

    fn digest(parts: &[Vec<u8>]) -> [u8; 32] {
        let mut digest = StateDigest::default();
        digest.operator("o", parts).unwrap();
        digest.finish()
    }

    #[test]
    fn golden_bytes() {
        let covered = [
            [1, 0, 0, 0, b'o'].as_slice(),
            &[1, 0, 0, 0, 1, 0, 0, 0, b's'],
            &[2, 0, 1, 0, 0, 0, 7, 2, 0, 0, 0, 9],
            &[0xFF, 0xFF],
        ]
        .concat();
        assert_eq!(digest(&[part((0, 4), &[(2, &[(7, 9)])])]), *blake3::hash(&covered).as_bytes());
    }

    #[test]
    fn it_depends_on_keys_and_values_and_not_on_rows_or_subtasks() {
        let one = digest(&[part((0, 4), &[(0, &[(1, 5), (2, 6)]), (3, &[(7, 9)])])]);
        let other_rows = digest(&[part((0, 4), &[(0, &[(2, 6), (1, 5)]), (3, &[(7, 9)])])]);
        let two = digest(&[part((0, 2), &[(0, &[(1, 5), (2, 6)])]), part((2, 4), &[(3, &[(7, 9)])])]);
        assert_eq!((other_rows, two), (one, one));
        let other_value = digest(&[part((0, 4), &[(0, &[(1, 5), (2, 6)]), (3, &[(7, 8)])])]);
        assert_ne!(other_value, one);
    }
}
