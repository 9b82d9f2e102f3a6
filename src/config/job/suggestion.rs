//! The known word nearest to an unknown one: "did you mean".

/// Least likeness of a word that is suggested, from 0 to 1.
const LIKENESS_MIN: f64 = 0.75;
/// Likeness of a word with one letter wrong, missing, too many, or in its neighbour's place.
const LIKENESS_OF_A_SLIP: f64 = 0.85;
/// Longest word that is compared, in bytes: comparing takes the product of both lengths.
const WORD_BYTES_MAX: usize = 64;

/// The known word that is most like `word`, if one is like it at all. Between equals the first.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let plain = word.to_ascii_lowercase().replace('_', "-");
    let mut best: Option<(f64, &str)> = None;
    for candidate in known {
        let known = candidate.to_ascii_lowercase();
        // One slip of the finger in a short word makes it more unlike than it is.
        let slip = if strsim::osa_distance(&plain, &known) <= 1 { LIKENESS_OF_A_SLIP } else { 0.0 };
        let likeness = strsim::jaro_winkler(&plain, &known).max(slip);
        if likeness >= LIKENESS_MIN && best.is_none_or(|(most, _)| likeness > most) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The remedy for an unknown word: the nearest known one, or all of them.
pub(crate) fn did_you_mean(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("known are {}", list(known)),
    }
}

/// Words as a list: `a`, `b` and `c`.
pub(super) fn list(words: &[&str]) -> String {
    join(words.iter().map(|word| format!("`{word}`")).collect(), "and")
}

/// Values as a list: "a", "b" or "c".
pub(super) fn choices_list(values: &[&str]) -> String {
    join(values.iter().map(|value| format!("{value:?}")).collect(), "or")
}

fn join(words: Vec<String>, last_with: &str) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {last_with} {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_no_other() {
        let known = ["interval", "retained", "remote-interval", "upload-window"];
        assert_eq!(nearest("intervall", known), Some("interval"));
        assert_eq!(nearest("Remote_Interval", known), Some("remote-interval"));
        assert_eq!(nearest("windmill", known), None);
        assert_eq!(nearest("upd", ["unix", "udp"]), Some("udp"));
        assert_eq!(nearest(&"interval".repeat(1000), known), None);
        assert_eq!(did_you_mean("xyz", &known[..2]), "known are `interval` and `retained`");
    }
}
