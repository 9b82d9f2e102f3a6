//! Texts of a group one behind the other: `LISTAGG`.
//!
//! Limit: [`LIST_BYTES_MAX`]; the row whose text would go beyond fails with `list-max`.

use serde::{Deserialize, Serialize};

use crate::metrics::RejectCause;

/// The longest list of a group, in bytes.
pub(crate) const LIST_BYTES_MAX: usize = 64 * 1024;
/// A group's list is longer than the limit.
const LIST_MAX: RejectCause = RejectCause::new("list-max");

/// The texts so far, with the separator between them; no list before the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TextList {
    separator: String,
    list: Option<String>,
}

impl TextList {
    pub(super) fn new(separator: &str) -> Self {
        Self { separator: separator.to_owned(), list: None }
    }

    pub(super) fn add(&mut self, text: &str) -> Result<(), RejectCause> {
        let before = self.list.as_ref().map_or(0, |list| list.len() + self.separator.len());
        if before + text.len() > LIST_BYTES_MAX {
            return Err(LIST_MAX);
        }
        match &mut self.list {
            Some(list) => {
                list.push_str(&self.separator);
                list.push_str(text);
            }
            none => *none = Some(text.to_owned()),
        }
        Ok(())
    }

    pub(super) fn merge(&mut self, other: &Self) -> Result<(), RejectCause> {
        other.list.as_ref().map_or(Ok(()), |list| self.add(list))
    }

    pub(super) fn list(&self) -> Option<&str> {
        self.list.as_deref()
    }
}
