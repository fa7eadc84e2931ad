//! What the claims of a token say about when and for whom it is good, and where claims are found.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::compact::Claims;
use super::quoting::quoted;

/// Where in a token a claim is: names with dots between them, for objects in objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimPath(Box<[Box<str>]>);

/// The last second of the year 9999. A later time is a mistake: milliseconds, most often.
const TIME_MAX: u64 = 253_402_300_799;

impl ClaimPath {
    /// Reads a path such as `sub` or `realm_access.roles`. A backslash before a dot makes it part
    /// of a name, as in `https://example\.com/groups`.
    ///
    /// Returns `None` if a name is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let mut names = vec![String::new()];
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\\' if characters.next_if_eq(&'.').is_some() => names.last_mut()?.push('.'),
                '.' => names.push(String::new()),
                other => names.last_mut()?.push(other),
            }
        }
        let is_path = names.iter().all(|name| !name.is_empty());
        is_path.then(|| Self(names.into_iter().map(String::into_boxed_str).collect()))
    }

    /// The claim of this name.
    pub(crate) fn of_name(name: &str) -> Self {
        Self([name.into()].into())
    }

    /// Returns the claim; `None` if the token has none there, or `null`.
    pub(crate) fn find<'a>(&self, claims: &'a Claims) -> Option<&'a Value> {
        let (last, objects) = self.0.split_last()?;
        let mut claims = claims;
        for name in objects {
            claims = claims.get(&**name)?.as_object()?;
        }
        claims.get(&**last).filter(|value| !value.is_null())
    }
}

/// As [`ClaimPath::parse`] reads it.
impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { "." } else { "" })?;
            f.write_str(&name.replace('.', "\\."))?;
        }
        Ok(())
    }
}

/// For whom tokens may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// For whomever.
    Any,
    /// For one of these at least. A token that says nothing is refused.
    OneOf(Vec<Box<str>>),
    /// For nobody in particular: a token that says for whom it is, is for somebody else (RFC 7519
    /// section 4.1.3).
    Unnamed,
}

impl Audience {
    /// Checks `aud`.
    pub(crate) fn check(&self, claims: &Claims) -> Result<(), String> {
        let audience = claims.get("aud").filter(|value| !value.is_null());
        let expected = match (self, audience) {
            (Self::Any, _) | (Self::Unnamed, None) => return Ok(()),
            (Self::Unnamed, Some(_)) => {
                return Err("the token has `aud`, and no `audience` is configured".into());
            }
            (Self::OneOf(_), None) => return Err("the token has no `aud`".into()),
            (Self::OneOf(expected), Some(_)) => expected,
        };
        let is_expected = |value: &Value| {
            value.as_str().is_some_and(|text| expected.iter().any(|it| **it == *text))
        };
        let is_for_us = match audience {
            Some(Value::Array(values)) => values.iter().any(is_expected),
            Some(value) => is_expected(value),
            None => false,
        };
        let error = || "the token is for others: its `aud` has none of those configured".into();
        is_for_us.then_some(()).ok_or_else(error)
    }
}

/// When tokens are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) requires_expiry: bool,
    pub(crate) leeway: Duration,
}

impl Times {
    /// Checks `exp`, `nbf` and `iat`. Returns when the token ends, in seconds since 1970, the
    /// leeway included; `None`: never.
    pub(crate) fn check(self, claims: &Claims, now: Duration) -> Result<Option<u64>, String> {
        let (now, leeway) = (now.as_secs(), self.leeway.as_secs());
        for name in ["nbf", "iat"] {
            if let Some(begins) = time(claims, name)?
                && begins > now.saturating_add(leeway)
            {
                let early = begins - now;
                return Err(format!("the token is not good yet: its `{name}` is in {early} s"));
            }
        }
        let Some(ends) = time(claims, "exp")? else {
            return match self.requires_expiry {
                true => Err("the token has no `exp`".into()),
                false => Ok(None),
            };
        };
        let ends = ends.saturating_add(leeway);
        if now >= ends {
            let late = now - (ends - leeway);
            return Err(format!("the token has expired {late} s ago"));
        }
        Ok(Some(ends))
    }
}

/// Reads a NumericDate (RFC 7519 section 2), and leaves out parts of seconds.
fn time(claims: &Claims, name: &str) -> Result<Option<u64>, String> {
    let Some(value) = claims.get(name).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let seconds = match (value.as_u64(), value.as_f64()) {
        (Some(seconds), _) => Some(seconds),
        // Within these bounds nothing is lost but the parts of seconds.
        (None, Some(it)) if (0.0..=TIME_MAX as f64).contains(&it) => Some(it as u64),
        _ => None,
    };
    let seconds = seconds.filter(|it| *it <= TIME_MAX);
    let error = || format!("the `{name}` of the token is no number of seconds since 1970");
    seconds.map(Some).ok_or_else(error)
}

/// Reads a claim that is a text.
pub(crate) fn text<'a>(claims: &'a Claims, path: &ClaimPath) -> Result<&'a str, String> {
    match path.find(claims) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("the claim {} of the token is no text", quoted(&path.to_string()))),
        None => Err(format!("the token has no claim {}", quoted(&path.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn claims(value: &Value) -> Claims {
        value.as_object().expect("it is an object").clone()
    }

    #[test]
    fn a_path_leads_into_objects() {
        let claims = claims(&json!({
            "sub": "s", "a.b": "dotted", "a": {"b": {"c": 1}, "n": null}, "x\\": {"y": 2}
        }));
        let find = |path: &str| ClaimPath::parse(path).unwrap().find(&claims).cloned();
        assert_eq!(find("sub"), Some(json!("s")));
        assert_eq!(find("a.b.c"), Some(json!(1)));
        assert_eq!(find("a\\.b"), Some(json!("dotted")));
        for path in ["b", "a.x", "a.n", "sub.x", "a.b.c.d"] {
            assert_eq!(find(path), None, "{path}");
        }
        for path in ["", ".", "a.", ".a", "a..b"] {
            assert_eq!(ClaimPath::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_token_is_good_from_its_beginning_to_its_end() {
        let check = |value: Value, requires_expiry| {
            let times = Times { requires_expiry, leeway: Duration::from_secs(10) };
            times.check(&claims(&value), Duration::from_secs(1000))
        };
        assert_eq!(check(json!({"exp": 2000, "nbf": 1010, "iat": 900.5}), true), Ok(Some(2010)));
        assert_eq!(check(json!({"exp": 991}), true), Ok(Some(1001)));
        assert_eq!(check(json!({"exp": 2000.9}), true), Ok(Some(2010)));
        assert_eq!(check(json!({}), false), Ok(None));
        for value in [
            json!({}),
            json!({"exp": null}),
            json!({"exp": 990}),
            json!({"exp": 0}),
            json!({"exp": -1}),
            json!({"exp": "2000"}),
            json!({"exp": 1_700_000_000_000_u64}),
            json!({"exp": u64::MAX}),
            json!({"exp": 1e300}),
            json!({"exp": 2000, "nbf": 1011}),
            json!({"exp": 2000, "iat": 1011}),
            json!({"exp": 2000, "iat": true}),
        ] {
            assert!(check(value.clone(), true).is_err(), "{value}");
        }
    }

    #[test]
    fn a_token_is_for_one_of_an_audience() {
        let check = |audience: &Audience, value: Value| audience.check(&claims(&value)).is_ok();
        let ours = Audience::OneOf(vec!["a".into(), "b".into()]);
        for (value, expected) in [
            (json!({"aud": "a"}), true),
            (json!({"aud": ["x", "b"]}), true),
            (json!({"aud": "ab"}), false),
            (json!({"aud": ["x", 1]}), false),
            (json!({"aud": []}), false),
            (json!({"aud": null}), false),
            (json!({"aud": {"a": "a"}}), false),
            (json!({}), false),
        ] {
            assert_eq!(check(&ours, value.clone()), expected, "{value}");
            assert!(check(&Audience::Any, value));
        }
        assert!(check(&Audience::Unnamed, json!({})));
        assert!(!check(&Audience::Unnamed, json!({"aud": "a"})));
        assert!(!check(&Audience::OneOf(Vec::new()), json!({"aud": "a"})));
    }

    proptest! {
        #[test]
        fn a_path_is_written_as_it_is_read(text: String) {
            if let Some(path) = ClaimPath::parse(&text) {
                prop_assert_eq!(ClaimPath::parse(&path.to_string()), Some(path));
            }
        }

        #[test]
        fn no_number_makes_it_panic(exp: f64, nbf: i64, iat: u64, now: u64, leeway: u64) {
            let times = Times { requires_expiry: true, leeway: Duration::from_secs(leeway) };
            let claims = claims(&json!({"exp": exp, "nbf": nbf, "iat": iat}));
            let _ = times.check(&claims, Duration::from_secs(now));
        }
    }
}
