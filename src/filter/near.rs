//! How near a text came to a value: for the list of near misses, and for nothing else.

/// A longer value is not compared: it would cost more than the list is worth.
const VALUE_MAX: usize = 64;

/// Nor is a longer text.
const TEXT_MAX: usize = 128;

/// Where in the text the value was expected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Whole,
    Start,
    End,
    Anywhere,
}

/// From 0, nothing alike, to 1, the value is there; counted in single edits. This is what
/// strsim counts, but on bytes, without an allocation, and anywhere in a text.
pub(super) fn closeness(value: &[u8], text: &[u8], place: Place) -> f32 {
    if value.is_empty() || value.len() > VALUE_MAX {
        return 0.0;
    }
    let part = match place {
        Place::Start => &text[..value.len().min(text.len())],
        Place::End => &text[text.len() - value.len().min(text.len())..],
        Place::Whole | Place::Anywhere => text,
    };
    if part.len() > TEXT_MAX {
        return 0.0;
    }
    let longest = if place == Place::Anywhere { value.len() } else { value.len().max(part.len()) };
    let edits = edits(value, part, place == Place::Anywhere);
    // At most 128, so that nothing is lost.
    (longest - edits.min(longest)) as f32 / longest as f32
}

/// How many single edits lead from `value` to `text`, or to the part of it that is nearest.
fn edits(value: &[u8], text: &[u8], any_part: bool) -> usize {
    // column[i]: the edits from the first i bytes of the value to the text read so far.
    let mut column = [0; VALUE_MAX + 1];
    for (i, cell) in column.iter_mut().enumerate() {
        *cell = i;
    }
    let last = value.len();
    let mut best = column[last];
    for (read, byte) in text.iter().enumerate() {
        let mut diagonal = column[0];
        column[0] = if any_part { 0 } else { read + 1 };
        for i in 1..=last {
            let replaced = diagonal + usize::from(value[i - 1] != *byte);
            diagonal = column[i];
            column[i] = replaced.min(diagonal + 1).min(column[i - 1] + 1);
        }
        best = best.min(column[last]);
    }
    if any_part { best } else { column[last] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_edit_costs_one_part_of_the_length() {
        assert_eq!(closeness(b"cc1plus", b"cc1plus", Place::Whole), 1.0);
        assert_eq!(closeness(b"cc1plus", b"cc1plu", Place::Whole), 6.0 / 7.0);
        assert_eq!(closeness(b"abcd", b"xxabxdxx", Place::Anywhere), 0.75);
        assert_eq!(closeness(b"/usr", b"/opt/bin", Place::Start), 0.25);
        assert_eq!(closeness(b".c", b"main.h", Place::End), 0.5);
        assert_eq!(closeness(b"a", b"", Place::End), 0.0);
    }

    #[test]
    fn whole_values_are_compared_as_strsim_does() {
        for (value, text) in [("kitten", "sitting"), ("flaw", "lawn"), ("a", "bcd")] {
            assert_eq!(
                edits(value.as_bytes(), text.as_bytes(), false),
                strsim::levenshtein(value, text)
            );
        }
    }
}
