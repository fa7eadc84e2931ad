//! What a line `pattern` stands for with a Client's names in the places of `%c` and `%u`.

use midge_core::Identity;

/// A part of a pattern.
enum Part<'a> {
    Text(&'a str),
    ClientId,
    UserName,
}

/// Whether a name must not be put into any pattern: it would be a wildcard there.
pub(super) fn is_dangerous(client: &Identity) -> bool {
    let is_wild = |name: &str| name.contains(['+', '#']);
    is_wild(&client.client_id) || client.user_name.as_deref().is_some_and(is_wild)
}

/// Returns the Topic Filter that the pattern of a prohibition is for this Client: with its names as
/// they are. `None`: it has no user name, and the pattern is about one.
pub(super) fn fill(pattern: &str, client: &Identity) -> Option<String> {
    let mut filter = String::new();
    for part in parts(pattern) {
        filter.push_str(value(&part, client)?);
    }
    Some(filter)
}

/// Returns the Topic Filter that the pattern of a permission is for this Client. A name fills a
/// part of one level, or the pattern permits nothing; at the very start it does not begin with `$`.
pub(super) fn fill_narrowly(pattern: &str, client: &Identity) -> Option<String> {
    let mut filter = String::new();
    for part in parts(pattern) {
        let value = value(&part, client)?;
        if !matches!(part, Part::Text(_)) {
            let is_level = !value.is_empty() && !value.contains(['/', '+', '#', '\0']);
            let is_reserved = filter.is_empty() && value.starts_with('$');
            if !is_level || is_reserved {
                return None;
            }
        }
        filter.push_str(value);
    }
    Some(filter)
}

fn value<'a>(part: &Part<'a>, client: &'a Identity) -> Option<&'a str> {
    match part {
        Part::Text(text) => Some(text),
        Part::ClientId => Some(&client.client_id),
        Part::UserName => client.user_name.as_deref(),
    }
}

/// Takes a pattern apart.
fn parts(pattern: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = pattern;
    std::iter::from_fn(move || {
        let names = [("%c", Part::ClientId), ("%u", Part::UserName)];
        for (sign, part) in names {
            if let Some(behind) = rest.strip_prefix(sign) {
                rest = behind;
                return Some(part);
            }
        }
        let end = ["%c", "%u"].iter().filter_map(|sign| rest.find(sign)).min();
        let (text, behind) = rest.split_at(end.unwrap_or(rest.len()));
        rest = behind;
        (!text.is_empty()).then_some(Part::Text(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(client_id: &str, user_name: Option<&str>) -> Identity {
        Identity::new(client_id.into(), user_name.map(Into::into))
    }

    #[test]
    fn names_stand_in_their_places() {
        let client = client("c1", Some("bob"));
        for (pattern, expected) in [
            ("a/+/#", "a/+/#"),
            ("%c", "c1"),
            ("x/%u-%c/%u", "x/bob-c1/bob"),
            ("%%c%", "%c1%"),
            ("%C/%x", "%C/%x"),
        ] {
            assert_eq!(fill(pattern, &client).as_deref(), Some(expected), "{pattern}");
            assert_eq!(fill_narrowly(pattern, &client).as_deref(), Some(expected), "{pattern}");
        }
        // A name is not looked at again.
        let tricky = self::client("%u", Some("%c"));
        assert_eq!(fill("%c/%u", &tricky).as_deref(), Some("%u/%c"));
    }

    #[test]
    fn a_prohibition_is_wider_than_a_permission() {
        for (name, expected) in [("a/b", "a/b/x"), ("$SYS", "$SYS/x"), ("", "/x")] {
            let client = client(name, None);
            assert_eq!(fill("%c/x", &client).as_deref(), Some(expected));
            assert_eq!(fill_narrowly("%c/x", &client), None);
        }
        assert_eq!(fill("%u/x", &client("c", None)), None);
        assert_eq!(fill_narrowly("y/%c", &client("$a", None)).as_deref(), Some("y/$a"));
    }
}
