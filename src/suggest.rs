//! "Did you mean": the name that a mistyped word is nearest to.

/// A long word is near to nothing, and comparing it is quadratic.
const LONGEST: usize = 32;

/// The nearest name, and in how many letters it differs; none if that is more than a third of them.
pub fn nearest<'a>(
    word: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<(&'a str, usize)> {
    if word.len() >= LONGEST {
        return None;
    }
    names
        .into_iter()
        .map(|name| (name, strsim::damerau_levenshtein(word, name)))
        .min_by_key(|(_, edits)| *edits)
        .filter(|(name, edits)| *edits <= (name.len() / 3).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_word_is_not() {
        let names = ["debugger", "in", "max-hits"];
        assert_eq!(nearest("debuger", names), Some(("debugger", 1)));
        assert_eq!(nearest("max_hits", names), Some(("max-hits", 1)));
        assert_eq!(nearest("terminal", names), None);
        assert_eq!(nearest(&"x".repeat(100_000), names), None);
    }
}
