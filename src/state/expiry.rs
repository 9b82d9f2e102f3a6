//! What has expired of an encoded entry, told without knowing the states' types.

use std::convert::Infallible;

use super::cell::{Unexpired, retain_unexpired};
use super::descriptor::StateKind;
use super::part::{push_state, split_state};

/// How each state of an entry expires, in the order of the schema.
pub(crate) type ExpiryRules = Vec<ExpiryRule>;

/// How one state of an entry expires.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExpiryRule {
    pub(crate) kind: StateKind,
    /// Time to live in milliseconds; `None` for a state that is not cleaned up.
    pub(crate) duration_ms: Option<i64>,
}

/// Whether nothing is left of an entry at `now`.
pub(crate) fn has_expired(rules: &[ExpiryRule], mut entry: &[u8], now: i64) -> bool {
    rules.iter().all(|rule| match (split_state(&mut entry), rule.duration_ms) {
        (Some(None), _) => true,
        (Some(Some(cell)), Some(duration_ms)) => {
            let left = retain_unexpired(rule.kind, cell, duration_ms, now, &mut |_| {});
            matches!(left, Some(Unexpired::Nothing))
        }
        (Some(Some(_)), None) | (None, _) => false,
    })
}

/// Appends what is left of an entry at `now`; `false`, with nothing appended, when that is nothing. What is not well
/// formed is left as it is.
pub(crate) fn push_unexpired(rules: &[ExpiryRule], entry: &[u8], now: i64, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let mut is_there = false;
    let mut rest = entry;
    for rule in rules {
        let Some(cell) = split_state(&mut rest) else {
            out.truncate(start);
            out.extend_from_slice(entry);
            return true;
        };
        let Ok(is_left) = push_state::<Infallible>(out, |out| Ok(push_cell(*rule, cell, now, out)));
        is_there |= is_left;
    }
    if !is_there {
        out.truncate(start);
    }
    is_there
}

fn push_cell(rule: ExpiryRule, cell: Option<&[u8]>, now: i64, out: &mut Vec<u8>) -> bool {
    let Some(cell) = cell else { return false };
    let start = out.len();
    let left = rule.duration_ms.and_then(|duration_ms| {
        retain_unexpired(rule.kind, cell, duration_ms, now, &mut |kept| out.extend_from_slice(kept))
    });
    match left {
        Some(Unexpired::Nothing) => false,
        Some(Unexpired::Some) => true,
        Some(Unexpired::All) | None => {
            out.truncate(start);
            out.extend_from_slice(cell);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expired_cells_and_elements_are_left_out() {
        let rules = [
            ExpiryRule { kind: StateKind::Value, duration_ms: Some(100) },
            ExpiryRule { kind: StateKind::List, duration_ms: Some(100) },
            ExpiryRule { kind: StateKind::Value, duration_ms: None },
        ];
        let stamped = |stamp: i64, rest: &[u8]| [&stamp.to_le_bytes(), rest].concat();
        let entry = |cells: [Option<&[u8]>; 3]| {
            let mut entry = Vec::new();
            for cell in cells {
                let Ok(_) = push_state::<Infallible>(&mut entry, |out| {
                    out.extend_from_slice(cell.unwrap_or_default());
                    Ok(cell.is_some())
                });
            }
            entry
        };
        let (value, old, new) =
            (stamped(0, &[7]), stamped(0, &[1, 0, 0, 0, 8]), stamped(80, &[1, 0, 0, 0, 9]));
        let list = [old, new.clone()].concat();
        let all = entry([Some(&value), Some(&list), None]);
        let at = |entry: &[u8], now| {
            let mut out = vec![0xAA];
            let is_left = push_unexpired(&rules, entry, now, &mut out);
            assert_eq!(is_left, !has_expired(&rules, entry, now));
            assert_eq!(out.len() > 1, is_left);
            out.split_off(1)
        };
        assert_eq!(at(&all, 99), all);
        assert_eq!(at(&all, 100), entry([None, Some(&new), None]));
        assert_eq!(at(&all, 180), b"");
        let plain = entry([None, None, Some(&[5])]);
        assert_eq!(at(&plain, i64::MAX), plain);
        assert_eq!(at(&all[..20], 500), &all[..20], "what is cut is left as it is");
    }
}
