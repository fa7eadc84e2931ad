//! Finds the name that somebody meant but mistyped.

/// A longer name is no typing mistake; comparing it would only take time.
const NAME_CHARS_MAX: usize = 96;

/// Returns the candidate that `name` is most likely a mistyped form of, if any is near enough.
pub(crate) fn nearest<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let name = normalize(name)?;
    let distance_max = (name.len() / 3).max(1);
    let distances = candidates.into_iter().filter_map(|candidate| {
        let distance = edit_distance(&name, &normalize(candidate)?);
        (distance <= distance_max).then_some((distance, candidate))
    });
    distances.min_by_key(|&(distance, _)| distance).map(|(_, candidate)| candidate)
}

/// Makes names comparable: case and the choice between `-` and `_` are never a difference.
fn normalize(name: &str) -> Option<Vec<char>> {
    let chars = name.chars().map(|char| if char == '-' { '_' } else { char.to_ascii_lowercase() });
    let chars: Vec<char> = chars.take(NAME_CHARS_MAX + 1).collect();
    (!chars.is_empty() && chars.len() <= NAME_CHARS_MAX).then_some(chars)
}

/// Counts the insertions, deletions, replacements and swaps of neighbours that turn `from` into
/// `to`.
fn edit_distance(from: &[char], to: &[char]) -> usize {
    let mut before_last = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, &char) in from.iter().enumerate() {
        let mut current = vec![row + 1; to.len() + 1];
        for (column, &wanted) in to.iter().enumerate() {
            let replaced = last[column] + usize::from(char != wanted);
            let mut best = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            let is_swapped =
                row > 0 && column > 0 && char == to[column - 1] && from[row - 1] == wanted;
            if is_swapped {
                best = best.min(before_last[column - 1] + 1);
            }
            current[column + 1] = best;
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::{edit_distance, nearest};

    #[test]
    fn distance_counts_typing_mistakes() {
        let distance = |from: &str, to: &str| {
            edit_distance(&from.chars().collect::<Vec<_>>(), &to.chars().collect::<Vec<_>>())
        };
        assert_eq!(distance("bind", "bind"), 0);
        assert_eq!(distance("bnid", "bind"), 1);
        assert_eq!(distance("", "bind"), 4);
        assert_eq!(distance("worker", "workers"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn the_nearest_is_found_and_nothing_far() {
        let keys = ["bind", "protocol", "queue_messages_max"];
        assert_eq!(nearest("queue_mesages_max", keys), Some("queue_messages_max"));
        assert_eq!(nearest("Queue-Messages-Max", keys), Some("queue_messages_max"));
        assert_eq!(nearest("bnd", keys), Some("bind"));
        assert_eq!(nearest("tls", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest(&"x".repeat(1_000_000), keys), None);
    }
}
