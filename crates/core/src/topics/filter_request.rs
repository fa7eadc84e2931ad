//! What a Topic Filter of a SUBSCRIBE asks for: plain, shared or exclusive, and the filter itself.

use midge_codec::{ReasonCode, TopicFilter};

use crate::topics::destination::{DELAYED, FILTER_PREFIXES};
use crate::topics::rewrite::TopicRules;

/// The ShareName under which `$queue/filter` is a shared subscription; no Client can choose it.
const QUEUE_SHARE_NAME: &str = "$queue";

/// The prefix of the filter of an exclusive subscription.
pub(crate) const EXCLUSIVE_PREFIX: &str = "$exclusive/";

/// A filter taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilterRequest {
    pub(crate) kind: RequestKind,
    /// What is matched: without prefix, after rewriting.
    pub(crate) filter: String,
    /// The subscription's name in its Session: with prefix, after rewriting.
    pub(crate) key: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Plain,
    Shared { name: String },
    Exclusive,
}

impl FilterRequest {
    /// Returns the ShareName and the filter of a shared subscription, from its name in its Session.
    pub(crate) fn shared_of(key: &str) -> Option<(&str, &str)> {
        match key.strip_prefix("$share/") {
            Some(rest) => rest.split_once('/'),
            None => key.strip_prefix("$queue/").map(|filter| (QUEUE_SHARE_NAME, filter)),
        }
    }

    /// Does the reverse of [`FilterRequest::shared_of`].
    pub(crate) fn shared_key(name: &str, filter: &str) -> String {
        match name {
            QUEUE_SHARE_NAME => format!("$queue/{filter}"),
            _ => format!("$share/{name}/{filter}"),
        }
    }

    /// Takes a filter apart, rewrites and checks it.
    pub(crate) fn parse(
        text: &str,
        rules: &TopicRules,
        levels_max: u16,
    ) -> Result<Self, ReasonCode> {
        let request = Self::take_apart(text, rules)?;
        let filter = &*request.filter;
        // A filter that begins like no topic can would match nothing.
        if filter.split('/').count() > usize::from(levels_max) || begins_like_no_topic(filter) {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        // It would be the same subscription as `$queue/filter` under another name.
        if text.starts_with("$share/$queue/") {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        Ok(request)
    }

    /// Takes apart a filter that a store claims to have kept. The filter may match nothing: earlier
    /// versions granted such filters, which are dropped at the start.
    pub(crate) fn parse_stored(text: &str) -> Result<Self, ReasonCode> {
        let request = Self::take_apart(text, &TopicRules::default())?;
        let has_prefix = FILTER_PREFIXES.iter().any(|it| request.filter.starts_with(it));
        if request.kind != RequestKind::Plain && has_prefix {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        Ok(request)
    }

    /// Takes a filter apart and rewrites it.
    fn take_apart(text: &str, rules: &TopicRules) -> Result<Self, ReasonCode> {
        let invalid = |_| ReasonCode::TopicFilterInvalid;
        let (kind, prefix, filter) = if let Some(shared) = TopicFilter::parse_shared(text) {
            let (name, filter) = shared.map_err(invalid)?;
            let prefix = format!("$share/{name}/");
            (RequestKind::Shared { name: name.to_string() }, prefix, filter)
        } else if let Some(rest) = text.strip_prefix("$queue/") {
            let filter = TopicFilter::parse(rest).map_err(invalid)?;
            let name = QUEUE_SHARE_NAME.to_string();
            (RequestKind::Shared { name }, "$queue/".to_string(), filter)
        } else if let Some(rest) = text.strip_prefix(EXCLUSIVE_PREFIX) {
            let filter = TopicFilter::parse(rest).map_err(invalid)?;
            (RequestKind::Exclusive, EXCLUSIVE_PREFIX.to_string(), filter)
        } else {
            (RequestKind::Plain, String::new(), TopicFilter::parse(text).map_err(invalid)?)
        };
        let rewritten = rules.rewrite_filter(filter.as_str());
        let filter = rewritten.unwrap_or_else(|| filter.as_str().to_string());
        let key = format!("{prefix}{filter}");
        Ok(Self { kind, filter, key })
    }
}

/// Whether the first level of a filter is one that no published topic can begin with.
fn begins_like_no_topic(filter: &str) -> bool {
    let first = filter.split('/').next().unwrap_or_default();
    let is_prefix = |prefix: &&str| prefix.strip_suffix('/') == Some(first);
    first == DELAYED || FILTER_PREFIXES.iter().any(is_prefix)
}

#[cfg(test)]
mod tests {
    use midge_codec::ReasonCode;

    use super::{FilterRequest, RequestKind};
    use crate::topics::rewrite::TopicRules;

    fn parse(text: &str) -> Result<(RequestKind, String), ReasonCode> {
        let request = FilterRequest::parse(text, &TopicRules::default(), 4)?;
        assert_eq!(request.key, text);
        Ok((request.kind, request.filter))
    }

    #[test]
    fn kinds_are_told_by_their_prefix() {
        let shared = |name: &str| RequestKind::Shared { name: name.to_string() };
        assert_eq!(parse("a/#"), Ok((RequestKind::Plain, "a/#".into())));
        assert_eq!(parse("$share/g/a"), Ok((shared("g"), "a".into())));
        assert_eq!(parse("$queue/a"), Ok((shared("$queue"), "a".into())));
        assert_eq!(parse("$exclusive/a/b"), Ok((RequestKind::Exclusive, "a/b".into())));
        for plain in ["$SYS/#", "$queues/a", "$delayedness", "a/$queue/b"] {
            assert_eq!(parse(plain), Ok((RequestKind::Plain, plain.into())));
        }
        for bad in [
            "$share/g",
            "$exclusive/",
            "$queue/",
            "a/b/c/d/e",
            "a#",
            "$share/g/$share/h/a",
            "$share/$queue/a",
            "$exclusive/$queue/a",
            "$queue",
            "$exclusive",
            "$delayed",
            "$delayed/1/a",
            "$delayed/#",
            "$share/g/$delayed/1/a",
            "$exclusive/$exclusive",
        ] {
            assert_eq!(parse(bad), Err(ReasonCode::TopicFilterInvalid), "{bad}");
        }
    }
}
