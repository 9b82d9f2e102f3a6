//! Topic filters, as MQTT 5 section 4.7 defines them.

/// Longest filter, in bytes.
const FILTER_BYTES_MAX: usize = 65_535;

/// Says what is wrong with a topic filter.
///
/// # Errors
/// A sentence.
pub(crate) fn check_filter(filter: &str) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("the topic filter {filter:?} {why}"));
    if filter.is_empty() || filter.len() > FILTER_BYTES_MAX || filter.contains('\0') {
        return refuse("must have 1 to 65,535 bytes, and no NUL");
    }
    let Some(unshared) = unshared(filter) else {
        return refuse("must be $share/GROUP/FILTER");
    };
    let mut levels = unshared.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return refuse("may have `#` only as its last level");
        }
        if level.contains('+') && level != "+" {
            return refuse("may have `+` only as a whole level");
        }
    }
    Ok(())
}

/// True when a topic is one the filter asks for.
pub(crate) fn filter_matches(filter: &str, topic: &str) -> bool {
    let Some(filter) = unshared(filter) else { return false };
    // Wildcards leave out what belongs to the broker.
    if topic.starts_with('$') && filter.starts_with(['#', '+']) {
        return false;
    }
    let mut topics = topic.split('/');
    for level in filter.split('/') {
        match (level, topics.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(topic)) if level == topic => {}
            _ => return false,
        }
    }
    topics.next().is_none()
}

/// The filter without `$share/GROUP/`; `None` when that is malformed.
fn unshared(filter: &str) -> Option<&str> {
    let Some(shared) = filter.strip_prefix("$share/") else { return Some(filter) };
    let (group, filter) = shared.split_once('/')?;
    (!group.is_empty() && !group.contains(['+', '#']) && !filter.is_empty()).then_some(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_the_standard_says() {
        for (filter, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("a/+/c", "a/b/c", true),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "a/b", true),
            ("#", "$SYS/broker", false),
            ("+/broker", "$SYS/broker", false),
            ("$SYS/#", "$SYS/broker", true),
            ("$share/g/a/+", "a/b", true),
            ("$share/g/#", "$SYS/x", false),
            ("+/+", "/b", true),
            ("+", "/b", false),
        ] {
            assert_eq!(filter_matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn malformed_filters_are_refused() {
        for filter in ["", "a/#/b", "a#", "a+/b", "$share/g", "$share//a", "$share/+/a", "a\0b"] {
            assert!(check_filter(filter).is_err(), "{filter}");
        }
        for filter in ["#", "+", "a//b", "/", "$share/g/a/#", "ü/+"] {
            assert_eq!(check_filter(filter), Ok(()), "{filter}");
        }
    }
}
