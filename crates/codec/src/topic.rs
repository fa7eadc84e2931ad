//! Topic Names and Topic Filters: what makes them valid, and the parts of a filter.

/// A Topic Name that was checked: UTF-8 without U+0000, no wildcard characters, at most 65,535
/// bytes. Empty only where a topic alias stands in for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TopicName<'a>(&'a str);

/// A Topic Filter that was checked, without its `$share/group/` part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TopicFilter<'a>(&'a str);
