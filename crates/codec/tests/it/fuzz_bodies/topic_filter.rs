//! A Topic Filter and a Topic Name: checked and matched as a plain second implementation does.

use midge_codec::{Rule, TopicFilter, TopicName};

/// The filter is the first line of `data`, the name is the rest.
///
/// Panics if the codec and the code below disagree about them.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (filter, name) = text.split_once('\n').unwrap_or((text, "a/b"));
    check_shared(filter);
    let parsed_filter = TopicFilter::parse(filter);
    assert_eq!(parsed_filter.is_ok(), is_filter(filter), "{filter:?}");
    let parsed_name = TopicName::new(name);
    assert_eq!(parsed_name.is_ok(), is_name(name), "{name:?}");
    let (Ok(parsed_filter), Ok(parsed_name)) = (parsed_filter, parsed_name) else { return };
    assert_eq!(parsed_filter.levels().collect::<Vec<_>>().join("/"), filter);
    assert_eq!(parsed_filter.has_wildcard(), !is_name(filter));
    let expected = !hides_from_wildcard(filter, name) && levels_match(filter, name);
    assert_eq!(parsed_filter.matches(parsed_name), expected, "{filter:?} {name:?}");
}

fn check_shared(filter: &str) {
    match TopicFilter::parse_shared(filter) {
        None => assert!(filter != "$share" && !filter.starts_with("$share/")),
        Some(Ok((name, inner))) => {
            assert_eq!(format!("$share/{name}/{}", inner.as_str()), filter);
            assert!(is_name(name) && !name.contains('/') && is_filter(inner.as_str()));
        }
        Some(Err(rule)) => {
            let parts: Vec<_> = filter.splitn(3, '/').collect();
            let has_name = parts.len() == 3 && is_name(parts[1]) && !parts[2].is_empty();
            assert_eq!(rule == Rule::ShareName, !has_name, "{filter:?}");
            assert!(!has_name || !is_filter(parts[2]), "{filter:?}");
        }
    }
}

fn has_length(text: &str) -> bool {
    (1..=65_535).contains(&text.len()) && !text.contains('\0')
}

fn is_name(text: &str) -> bool {
    has_length(text) && !text.contains(['+', '#'])
}

/// Every wildcard has slashes or the ends for neighbours, and nothing stands behind a '#'.
fn is_filter(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_edge = |index: Option<usize>| {
        let neighbour = index.and_then(|index| bytes.get(index));
        neighbour.is_none_or(|&byte| byte == b'/')
    };
    let is_alone = |index: usize| is_edge(index.checked_sub(1)) && is_edge(Some(index + 1));
    has_length(text)
        && bytes.iter().enumerate().all(|(index, byte)| match byte {
            b'+' => is_alone(index),
            b'#' => is_alone(index) && index + 1 == bytes.len(),
            _ => true,
        })
}

/// [MQTT-4.7.2-1]
fn hides_from_wildcard(filter: &str, name: &str) -> bool {
    name.starts_with('$') && matches!(filter.chars().next(), Some('+' | '#'))
}

/// Compares the first levels and calls itself with what is behind them.
fn levels_match(filter: &str, name: &str) -> bool {
    if filter == "#" {
        return true;
    }
    let (filter_level, filter_rest) = split_level(filter);
    let (name_level, name_rest) = split_level(name);
    let agree = filter_level == "+" || filter_level == name_level;
    agree
        && match (filter_rest, name_rest) {
            (None | Some("#"), None) => true,
            (Some(filter), Some(name)) => levels_match(filter, name),
            _ => false,
        }
}

fn split_level(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (text, None),
    }
}
