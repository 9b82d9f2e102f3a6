//! Names of objects on a remote.

use std::fmt;

/// Most segments of a name.
const SEGMENTS_MAX: usize = 6;
/// Most bytes of a segment.
pub(crate) const SEGMENT_BYTES_MAX: usize = 80;

/// A path below the remote's root: 1..=6 segments, each `[a-z0-9][a-z0-9._-]{0,79}`, joined by `/`. So it stays below the
/// root on every kind of remote, means the same on all, and needs no escapes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteName(String);

impl RemoteName {
    /// A name, or `None` when it is not well formed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_good = text.split('/').count() <= SEGMENTS_MAX && text.split('/').all(is_segment);
        is_good.then(|| Self(text.to_owned()))
    }

    /// The name of `segment` in this folder.
    ///
    /// # Panics
    /// When the segment is not well formed: callers build segments from numbers and hashes.
    pub(crate) fn join(&self, segment: &str) -> Self {
        Self::parse(&format!("{}/{segment}", self.0)).expect("segments are built from numbers and hashes")
    }

    #[cfg(test)]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The last two segments.
    pub(crate) fn parent_and_last(&self) -> Option<(&str, &str)> {
        let (folders, last) = self.0.rsplit_once('/')?;
        Some((folders.rsplit('/').next().unwrap_or_default(), last))
    }

    /// The last segment.
    pub(crate) fn last(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for RemoteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// True for what a segment may be.
pub(crate) fn is_segment(text: &str) -> bool {
    let starts_well =
        text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    starts_well && text.len() <= SEGMENT_BYTES_MAX && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_root() {
        for text in
            ["", "/", "/a", "a/", "a//b", "..", "a/../b", "a/.hidden", "A", "a b", "a\0", "a/b/c/d/e/f/g"]
        {
            assert_eq!(RemoteName::parse(text), None, "{text:?}");
        }
        assert_eq!(RemoteName::parse("device/job").unwrap().join("0a").as_str(), "device/job/0a");
        assert_eq!(RemoteName::parse(&"a".repeat(81)), None);
    }
}
