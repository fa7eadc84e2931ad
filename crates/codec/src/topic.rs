//! Topic Names and Topic Filters: what makes them valid, and the parts of a filter.

use crate::error::Rule;

/// A Topic Name that was checked: UTF-8 without U+0000, no wildcard characters, at most 65,535
/// bytes. Empty only where a topic alias stands in for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TopicName<'a>(&'a str);

/// A Topic Filter that was checked, without its `$share/group/` part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TopicFilter<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Checks a Topic Name.
    ///
    /// # Errors
    ///
    /// The rule that it breaks: it is empty [MQTT-4.7.3-1], holds U+0000 [MQTT-4.7.3-2] or a
    /// wildcard [MQTT-4.7.0-1], or is longer than 65,535 bytes [MQTT-4.7.3-3].
    pub fn new(name: &'a str) -> Result<Self, Rule> {
        if name.is_empty() {
            return Err(Rule::EmptyTopic);
        }
        if name.len() > usize::from(u16::MAX) {
            return Err(Rule::Truncated);
        }
        Self::check(name)
    }

    /// Returns the empty name that goes with a topic alias.
    pub fn empty() -> Self {
        Self("")
    }

    /// Returns the name as text.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Iterates over the levels between the slashes; there is at least one.
    pub fn levels(self) -> impl Iterator<Item = &'a str> {
        self.0.split('/')
    }

    /// Checks a name from the wire, which may be empty.
    #[inline]
    pub(crate) fn from_wire(bytes: &'a [u8]) -> Result<Self, Rule> {
        Self::check(crate::wire::utf8(bytes)?)
    }

    #[inline]
    fn check(name: &'a str) -> Result<Self, Rule> {
        // One pass without early exit, so that the compiler makes vector code of it.
        let bytes = name.as_bytes();
        let is_bad = |byte: u8| (byte == 0) | (byte == b'+') | (byte == b'#');
        if !bytes.iter().fold(false, |bad, &byte| bad | is_bad(byte)) {
            return Ok(Self(name));
        }
        let has_null = bytes.contains(&0);
        Err(if has_null { Rule::NullCharacter } else { Rule::TopicWildcard })
    }
}

impl<'a> TopicFilter<'a> {
    /// Checks a Topic Filter. `$share/...` has no special meaning here, see
    /// [`TopicFilter::parse_shared`].
    ///
    /// # Errors
    ///
    /// The rule that it breaks [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.7.3-2].
    pub fn parse(filter: &'a str) -> Result<Self, Rule> {
        if filter.is_empty() {
            return Err(Rule::EmptyFilter);
        }
        if filter.len() > usize::from(u16::MAX) {
            return Err(Rule::Truncated);
        }
        let mut levels = filter.split('/').peekable();
        while let Some(level) = levels.next() {
            if level.contains('\0') {
                return Err(Rule::NullCharacter);
            }
            if level.contains('#') && (level != "#" || levels.peek().is_some()) {
                return Err(Rule::MultiLevelWildcard);
            }
            if level.contains('+') && level != "+" {
                return Err(Rule::SingleLevelWildcard);
            }
        }
        Ok(Self(filter))
    }

    /// Returns the ShareName and the filter of `$share/NAME/FILTER`; `None` for any other filter.
    ///
    /// # Errors
    ///
    /// A name that is empty or holds a wildcard [MQTT-4.8.2-1] [MQTT-4.8.2-2], or a bad filter.
    pub fn parse_shared(filter: &'a str) -> Option<Result<(&'a str, Self), Rule>> {
        let rest = match filter.split_once('/') {
            Some(("$share", rest)) => rest,
            None if filter == "$share" => return Some(Err(Rule::ShareName)),
            _ => return None,
        };
        let Some((name, filter)) = rest.split_once('/') else {
            return Some(Err(Rule::ShareName));
        };
        if name.is_empty() || name.contains(['+', '#', '\0']) || filter.is_empty() {
            return Some(Err(Rule::ShareName));
        }
        Some(Self::parse(filter).map(|filter| (name, filter)))
    }

    /// The prefixes of Midge's own forms of subscriptions, which come before the filter.
    const OWN_PREFIXES: [&'static str; 2] = ["$queue/", "$exclusive/"];

    /// Checks a filter of a SUBSCRIBE or UNSUBSCRIBE, shared or not. The filter behind one of
    /// Midge's own prefixes must not be empty either.
    ///
    /// # Errors
    ///
    /// As [`TopicFilter::parse_shared`] and [`TopicFilter::parse`].
    pub(crate) fn check(filter: &'a str) -> Result<(), Rule> {
        match Self::parse_shared(filter) {
            Some(shared) => shared.map(drop),
            None if Self::OWN_PREFIXES.contains(&filter) => Err(Rule::EmptyFilter),
            None => Self::parse(filter).map(drop),
        }
    }

    /// Returns the filter as text.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Iterates over the levels between the slashes; there is at least one.
    pub fn levels(self) -> impl Iterator<Item = &'a str> {
        self.0.split('/')
    }

    /// Returns whether it holds `+` or `#`.
    pub fn has_wildcard(self) -> bool {
        self.0.contains(['+', '#'])
    }

    /// Returns whether a Topic Name matches. This is the plain way, level by level: the reference
    /// for faster ones.
    pub fn matches(self, name: TopicName<'_>) -> bool {
        if name.0.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false; // [MQTT-4.7.2-1]
        }
        let mut names = name.levels();
        let mut filters = self.levels();
        loop {
            match (filters.next(), names.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => (),
                (Some(wanted), Some(level)) if wanted == level => (),
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{TopicFilter, TopicName};
    use crate::error::Rule;

    #[test]
    fn filters_match_as_the_specification_says() {
        for (filter, topic, expected) in [
            ("sport/#", "sport", true),
            ("sport/#", "sport/tennis/player1", true),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("a//b", "a//b", true),
            ("a/+/b", "a//b", true),
            ("A", "a", false),
        ] {
            let filter = TopicFilter::parse(filter).unwrap();
            assert_eq!(
                filter.matches(TopicName::new(topic).unwrap()),
                expected,
                "{filter:?} {topic}"
            );
        }
    }

    #[test]
    fn bad_filters_name_their_rule() {
        for (filter, rule) in [
            ("", Rule::EmptyFilter),
            ("a#", Rule::MultiLevelWildcard),
            ("a/#/b", Rule::MultiLevelWildcard),
            ("a+/b", Rule::SingleLevelWildcard),
            ("a\0", Rule::NullCharacter),
        ] {
            assert_eq!(TopicFilter::parse(filter), Err(rule), "{filter}");
        }
    }

    #[test]
    fn shared_filters_have_a_name_and_a_filter() {
        let (name, filter) = TopicFilter::parse_shared("$share/g/a/+").unwrap().unwrap();
        assert_eq!((name, filter.as_str()), ("g", "a/+"));
        assert_eq!(TopicFilter::parse_shared("$shared/g/a"), None);
        for bad in ["$share", "$share/", "$share/g", "$share/g/", "$share//a", "$share/g+/a"] {
            assert_eq!(TopicFilter::parse_shared(bad), Some(Err(Rule::ShareName)), "{bad}");
        }
    }
}
