//! How Topic Filters compare: which topics one matches, and how two of them overlap.
//!
//! All functions expect valid Topic Names and Topic Filters, without `$share/...`. A wildcard at
//! the first level matches no topic that begins with `$` [MQTT-4.7.2-1].

/// Returns whether `filter` matches `topic`.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut filters, mut topics) = (filter.split('/'), topic.split('/'));
    loop {
        match (filters.next(), topics.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(level), Some(found)) if level == found => {}
            _ => return false,
        }
    }
}

/// Returns whether `outer` matches every topic that `inner` matches.
pub fn covers(outer: &str, inner: &str) -> bool {
    // Both match all topics that do not begin with `$`.
    let plain = |filter| if filter == "+/#" { "#" } else { filter };
    let (outer, inner) = (plain(outer), plain(inner));
    if inner.starts_with('$') && outer.starts_with(['+', '#']) {
        return false;
    }
    let (mut outers, mut inners) = (outer.split('/'), inner.split('/'));
    loop {
        match (outers.next(), inners.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(level), Some(found)) if level == found => {}
            _ => return false,
        }
    }
}

/// Returns whether there is a topic that both filters match.
pub fn overlap(one: &str, other: &str) -> bool {
    let begins_with_wildcard = |filter: &str| filter.starts_with(['+', '#']);
    if begins_with_wildcard(one) && other.starts_with('$')
        || begins_with_wildcard(other) && one.starts_with('$')
    {
        return false;
    }
    let (mut ones, mut others) = (one.split('/'), other.split('/'));
    loop {
        match (ones.next(), others.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
            (Some(level), Some(found)) if level == found => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wildcards_match_as_the_specification_says() {
        for (filter, topic, expected) in [
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("+/+", "/b", true),
            ("+", "/b", false),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS", true),
            ("a", "a/b", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn a_filter_lies_inside_another_one() {
        for (outer, inner, expected) in [
            ("a/#", "a", true),
            ("a/#", "a/#", true),
            ("a/#", "a/+/#", true),
            ("a/+/#", "a/#", false),
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("+/#", "#", true),
            ("#", "+/#", true),
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/a", false),
            ("$SYS/#", "$SYS/+", true),
            ("a", "+", false),
        ] {
            assert_eq!(covers(outer, inner), expected, "{outer} {inner}");
        }
    }

    fn level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(&["", "a", "b"][..])
    }

    fn any_filter() -> impl Strategy<Value = String> {
        let first = prop::sample::select(&["", "a", "b", "+", "$s"][..]);
        let level = prop::sample::select(&["", "a", "b", "+"][..]);
        let levels = (first, prop::collection::vec(level, 0..3), any::<bool>());
        levels.prop_map(|(first, rest, has_multi)| {
            let mut levels = vec![first];
            levels.extend(rest);
            if has_multi {
                levels.push("#");
            }
            levels.join("/")
        })
    }

    fn filter_or_all() -> impl Strategy<Value = String> {
        prop_oneof![8 => any_filter(), 1 => Just("#".to_string())]
            .prop_filter("", |it| !it.is_empty())
    }

    /// All topics that tell two filters of these levels apart; also the empty one, which no Client
    /// can name: as if it could, `/#` has more in common with `+` than it has.
    fn topics() -> Vec<String> {
        let mut topics: Vec<String> = ["", "a", "b", "c", "$s", "$t"].map(String::from).into();
        let mut last = topics.clone();
        for _ in 0..4 {
            let longer = last
                .iter()
                .flat_map(|topic| ["", "a", "b", "c"].map(|level| format!("{topic}/{level}")));
            last = longer.collect();
            topics.extend(last.iter().cloned());
        }
        topics
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn comparisons_agree_with_the_topics(one in filter_or_all(), other in filter_or_all()) {
            let topics = topics();
            let matched = |filter: &str| -> Vec<bool> {
                topics.iter().map(|topic| matches(filter, topic)).collect()
            };
            let (by_one, by_other) = (matched(&one), matched(&other));
            let mut pairs = by_one.iter().zip(&by_other);
            let covered = pairs.clone().all(|(&one, &other)| one || !other);
            prop_assert_eq!(covers(&one, &other), covered, "{} {}", one, other);
            prop_assert_eq!(overlap(&one, &other), pairs.any(|(&one, &other)| one && other));
        }

        #[test]
        fn a_topic_is_a_filter_that_lies_inside_what_matches_it(
            filter in filter_or_all(),
            levels in prop::collection::vec(level(), 1..5),
        ) {
            let topic = levels.join("/");
            prop_assume!(!topic.is_empty());
            prop_assert_eq!(matches(&filter, &topic), covers(&filter, &topic));
        }
    }
}
