//! What rules of the configuration ask about Topic Filters: which filter covers which, which
//! variables a filter has, which topics are the broker's own.

use super::nearest::nearest;

/// The first levels of Topic Filters that ask for more than matching.
pub(super) const FILTER_KINDS: [&str; 3] = ["$share", "$queue", "$exclusive"];

/// The beginning of the topic of a message that is to be published later.
pub(super) const DELAYED: &str = "$delayed/";

/// Variables of the filters of `[[auto_subscribe]]`.
const VARIABLES: [&str; 2] = ["client_id", "user_name"];

/// Whether `wide` matches every topic that `narrow` matches.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    let starts_with_wildcard = |filter: &str| filter.starts_with(['+', '#']);
    // A leading wildcard matches no topic that begins with `$` [MQTT-4.7.2-1].
    if starts_with_wildcard(wide) && narrow.starts_with('$') {
        return false;
    }
    let (mut wide, mut narrow) = (wide.split('/'), narrow.split('/'));
    loop {
        match (wide.next(), narrow.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(level)) if level != "#" => (),
            (Some(one), Some(other)) if one == other => (),
            _ => return false,
        }
    }
}

/// Whether some topic matches both filters.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let starts_with_wildcard = |filter: &str| filter.starts_with(['+', '#']);
    // A leading wildcard matches no topic that begins with `$` [MQTT-4.7.2-1].
    if starts_with_wildcard(one) && other.starts_with('$')
        || starts_with_wildcard(other) && one.starts_with('$')
    {
        return false;
    }
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some("+"), Some(_)) | (Some(_), Some("+")) => (),
            (Some(one), Some(other)) if one == other => (),
            _ => return false,
        }
    }
}

/// Whether only the broker itself may publish to this topic.
pub(super) fn is_reserved(topic: &str) -> bool {
    matches!(topic.split('/').next(), Some("$SYS" | "$events"))
}

/// Checks the variables of a filter. The error says what is wrong, and what helps.
pub(super) fn check_variables(filter: &str) -> Result<(), (String, String)> {
    let allowed = "variables are ${client_id} and ${user_name}".to_string();
    let mut rest = filter;
    while let Some(at) = rest.find("${") {
        let Some(end) = rest[at..].find('}') else {
            let message = "has a \"${\" without its \"}\"".to_string();
            return Err((message, allowed));
        };
        let name = &rest[at + 2..at + end];
        if !VARIABLES.contains(&name) {
            let help = match nearest(name, VARIABLES) {
                Some(variable) => format!("the nearest is ${{{variable}}}"),
                None => allowed,
            };
            return Err((format!("has the variable ${{{name}}}, which does not exist"), help));
        }
        rest = &rest[at + end..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{check_variables, covers, overlap};

    #[test]
    fn a_filter_covers_what_it_matches_and_more() {
        let yes = [("#", "a/b"), ("a/#", "a"), ("a/#", "a/+/b"), ("+/b", "a/b"), ("a/+", "a/+")];
        for (wide, narrow) in yes {
            assert!(covers(wide, narrow), "{wide} covers {narrow}");
        }
        let no = [("a/+", "a/#"), ("+", "#"), ("a/b", "a/+"), ("#", "$SYS/#"), ("a/+", "a")];
        for (wide, narrow) in no {
            assert!(!covers(wide, narrow), "{wide} does not cover {narrow}");
        }
    }

    #[test]
    fn filters_overlap_if_a_topic_matches_both() {
        for (one, other) in [("a/+", "+/b"), ("a/#", "a"), ("#", "a/b"), ("a/+/c", "a/#")] {
            assert!(overlap(one, other) && overlap(other, one), "{one} and {other}");
        }
        for (one, other) in [("a/+", "a"), ("a", "b"), ("#", "$SYS/a"), ("a/+", "a/b/c")] {
            assert!(!overlap(one, other) && !overlap(other, one), "{one} and {other}");
        }
    }

    #[test]
    fn variables_are_those_that_exist() {
        assert_eq!(check_variables("a/${client_id}/${user_name}/$x"), Ok(()));
        let (message, help) = check_variables("a/${clientid}").unwrap_err();
        assert!(message.contains("${clientid}") && help.contains("${client_id}"), "{help}");
        assert!(check_variables("a/${client_id").is_err());
    }
}
