//! The word that somebody may have meant.

/// Letters that may be wrong for a word to be near.
const MOST_WRONG: usize = 3;

/// The candidate that takes the fewest changes to become `word`, if those are few.
pub(crate) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let distances = candidates.iter().map(|candidate| (distance(word, candidate), *candidate));
    distances.min().filter(|(wrong, near)| *wrong <= MOST_WRONG && *wrong < near.len()).map(|(_, near)| near)
}

/// Letters to insert, to remove or to replace (Levenshtein 1966), row by row; of long words only the beginning counts.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_ascii_lowercase().chars().take(32).collect();
    let b: Vec<char> = b.chars().take(32).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_near_and_another_word_is_not() {
        let keys = ["quota", "reserve", "max-age"];
        for (typed, meant) in [("qouta", Some("quota")), ("Quota", Some("quota")), ("maxage", Some("max-age"))] {
            assert_eq!(nearest(typed, &keys), meant, "{typed}");
        }
        for typed in ["", "colour", "x"] {
            assert_eq!(nearest(typed, &keys), None, "{typed}");
        }
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
